from dataclasses import replace

import pytest

from pipeline.evaluation.gaps import gap_of
from pipeline.params import Thresholds
from pipeline.records import PublishedRatios, Score
from pipeline.reporting.gaps import PairGap, non_inferiority
from pipeline.reporting.render import verdicts
from pipeline.reporting.reservations import ONE_SEED, accuracy_reservations
from pipeline.reporting.results import read_results
from pipeline.reporting.speed_claim import further_loss, speed_claim
from pipeline.reporting.verdicts import Verdict
from pipeline.runs import Run
from tests.reporting.synthetic_run import make_params, write_run


def judged(root, params, **numbers):
    return judge(results_of(root, params, **numbers), params)


def judge(results, params):
    """The claims by this run alone: accuracy, size and speed."""
    return verdicts(results, params)[1:]


def results_of(root, params, **numbers):
    write_run(root, params, images=False, **numbers)
    return read_results(root, params)


@pytest.fixture
def small():
    return make_params(["srresnet", "vdsr"], [2], ["embedded-test"])


@pytest.mark.parametrize(
    ("gap", "verdict"),
    [
        (-0.1, Verdict.REPLICATED),
        (0.24, Verdict.REPLICATED),
        (0.26, Verdict.PARTLY),
        (0.59, Verdict.PARTLY),
        (0.61, Verdict.NOT),
    ],
)
def test_accuracy_verdict_follows_the_gap(tmp_path, small, gap, verdict):
    claim = judged(tmp_path, small, gap=gap)[0]
    assert claim.verdict == verdict
    assert claim.headline == f"{gap:.2f} dB".replace("-", "−")


def test_the_upper_end_of_the_interval_decides_not_the_mean(tmp_path, small):
    results = results_of(tmp_path, small, gap=0.2)
    key = ("embedded-test", Run("vdsr", 2, "binary"))
    scores = results.evaluations[key].scores["torch"]
    for (image, score), share in zip(list(scores.items()), (0.2, -0.2, 0.0), strict=True):
        scores[image] = replace(score, psnr_y=score.psnr_y + share)  # the same mean, images that disagree
    claim = judge(results, small)[0]
    assert claim.headline == "0.20 dB" and claim.verdict == Verdict.PARTLY
    assert claim.headline_label.endswith(
        "VDSR ×2 on embedded-test. The upper end of its 95 % interval, 0.00 to 0.40 dB, is the highest of all"
    )
    assert "non-inferiority test" in claim.rule and "0.25 dB" in claim.rule


@pytest.mark.parametrize(
    ("saved", "verdict"),
    [(0.81, Verdict.REPLICATED), (0.79, Verdict.PARTLY), (0.71, Verdict.PARTLY), (0.69, Verdict.NOT)],
)
def test_size_verdict_follows_the_reduction(tmp_path, small, saved, verdict):
    claim = judged(tmp_path, small, saved=saved)[1]
    assert claim.verdict == verdict
    assert claim.headline == f"{100 * saved:.1f} %"


@pytest.mark.parametrize(
    ("speedup", "verdict"),
    [(5.1, Verdict.REPLICATED), (4.9, Verdict.PARTLY), (2.1, Verdict.PARTLY), (1.9, Verdict.NOT), (0.3, Verdict.NOT)],
)
def test_speed_verdict_follows_the_ratio(tmp_path, small, speedup, verdict):
    assert judged(tmp_path, small, speedup=speedup)[2].verdict == verdict


def test_a_mode_that_loses_too_much_does_not_count_for_speed(tmp_path, small):
    results = results_of(tmp_path, small, speedup=4.0)  # int8 loses 0.004 dB
    limits = Thresholds(replicated=5.0, partly=2.0)
    assert speed_claim(results, limits, 0.005).value == pytest.approx(4.0)
    assert speed_claim(results, limits, 0.003).value == pytest.approx(4.0 / 1.6)  # the engine with float32 activations


def test_the_speed_says_of_which_mode_it_is_and_what_is_reached_otherwise(tmp_path, small):
    results = results_of(tmp_path, small, speedup=4.0)
    limits = Thresholds(replicated=5.0, partly=2.0)
    rounded, exact = (speed_claim(results, limits, loss) for loss in (0.005, 0.003))
    best = "speed-up over the fastest float32 runtime, best network: "
    over = "over PyTorch, compiled"
    exactly = "with float32 activations, which are the paper’s, 2.5× over 2 networks"
    said = f"SRResNet ×2 (engine, int8) {over}; worst network: 4.0×; {exactly}"
    unbinarized = "; float networks quantized to int8 by OpenVINO, without binarization, 3.3×"
    assert rounded.headline_label == best + said + unbinarized
    assert exact.headline_label == best + f"VDSR ×2 (engine, float32) {over}; worst network: 2.5×" + unbinarized
    quantized = rounded.measures[-1]
    ratios = [timed.speed("openvino_int8") for timed in results.benchmarks.values()]
    assert quantized.label == "OpenVINO, int8" and quantized.value.startswith(f"{min(ratios):.1f}×")


def test_what_a_mode_costs_a_published_network_counts_too_and_what_nobody_measured_does_not(tmp_path, small):
    results = results_of(tmp_path, small, speedup=4.0)
    limits = Thresholds(replicated=5.0, partly=2.0)
    means = results.zoo.published["srresnet-x4-binary"]["Set14"]
    means["engine_int8"] = replace(means["torch"], psnr_y=means["torch"].psnr_y - 0.06)
    assert further_loss(results, "engine_int8", ("srresnet", 2)) == pytest.approx(0.06)
    assert further_loss(results, "engine_int8", ("vdsr", 2)) == pytest.approx(0.004)
    everywhere = replace(results.zoo.models[1], name="srresnet-x4-binary-everywhere", variant="everywhere")
    worse = {"Set14": means | {"engine_int8": replace(means["torch"], psnr_y=0.0)}}
    results.zoo.models.append(everywhere)
    results.zoo.published[everywhere.name] = worse
    assert further_loss(results, "engine_int8", ("srresnet", 2)) == pytest.approx(0.06)
    claim = speed_claim(results, limits, 0.05)
    assert [measure.note for measure in claim.measures[:2]] == [
        "VDSR ×2, engine, int8",
        "SRResNet ×2, engine, float32",
    ]
    for key, evaluation in results.evaluations.items():
        kept = {name: mean for name, mean in evaluation.means.items() if name != "engine_int8"}
        results.evaluations[key] = replace(evaluation, means=kept)
    assert further_loss(results, "engine_int8", ("vdsr", 2)) is None
    assert speed_claim(results, limits, 0.05).value == pytest.approx(4.0 / 1.6)


def test_a_network_smaller_than_the_one_timed_does_not_count_beside_published_ones(tmp_path, small):
    results = results_of(tmp_path, small, speedup=4.0)
    means = results.zoo.published["srresnet-x4-binary"]["Set14"]
    means["engine_int8"] = replace(means["torch"], psnr_y=means["torch"].psnr_y - 0.001)
    assert further_loss(results, "engine_int8", ("srresnet", 2)) == pytest.approx(0.004)  # this run's
    for pair, timed in results.benchmarks.items():
        results.benchmarks[pair] = replace(timed, parameters=timed.parameters + 1)
    assert further_loss(results, "engine_int8", ("srresnet", 2)) == pytest.approx(0.001)
    assert not any(model.model == "vdsr" for model in results.zoo.models)
    assert further_loss(results, "engine_int8", ("vdsr", 2)) == pytest.approx(0.004)  # none is published
    assert further_loss(results, "engine_int8") == pytest.approx(0.004)


def test_one_bad_test_set_decides_the_accuracy_verdict(tmp_path, small):
    results = results_of(tmp_path, small, gap=0.1)
    key = ("embedded-test", Run("vdsr", 2, "binary"))
    evaluation = results.evaluations[key]
    worse = {image: replace(score, psnr_y=score.psnr_y - 5) for image, score in evaluation.scores["torch"].items()}
    results.evaluations[key] = replace(evaluation, scores={"torch": worse})
    claim = judge(results, small)[0]
    assert claim.verdict == Verdict.NOT
    assert claim.measures[0].note == "VDSR ×2 on embedded-test, 5.10 to 5.10 dB"


def test_80_percent_at_one_scale_only_is_partly_replicated(tmp_path):
    params = make_params(["srresnet"], [2, 4], ["embedded-test"])
    results = results_of(tmp_path, params, saved=0.81)
    binary = Run("srresnet", 4, "binary")
    results.footprint[binary] = replace(results.footprint[binary], bytes=1_450_000)  # of 5.6 MB: 74 %
    claim = judge(results, params)[1]
    assert claim.verdict == Verdict.PARTLY
    assert [measure.value for measure in claim.measures] == ["81.0 %", "74.1 %", "75.0 %"]
    assert claim.measures[2].label == "SRResNet ×4, published" and claim.measures[2].note == "3.20 MB to 800 kB"


def test_without_srresnet_the_size_claim_is_not_measured(tmp_path):
    claim = judged(tmp_path, make_params(["vdsr"], [2], ["embedded-test"]))[1]
    assert claim.verdict == Verdict.UNMEASURED
    assert [measure.label for measure in claim.measures] == ["VDSR ×2", "SRResNet ×4, published"]


def test_the_size_of_the_published_files_is_said_where_there_are_any(tmp_path, small):
    results = results_of(tmp_path, small)
    said = "; of the published files, which store float values in 16 bits, 75.0 % at ×4"
    assert judge(results, small)[1].headline_label.endswith(said)
    results.zoo.models.clear()
    assert "published" not in judge(results, small)[1].headline_label


def test_without_timings_of_the_engine_speed_is_not_measured(tmp_path, small):
    results = results_of(tmp_path, small)
    for pair, timed in results.benchmarks.items():
        results.benchmarks[pair] = replace(timed, backends={"torch": timed.backends["torch"]})
    assert judge(results, small)[2].verdict == Verdict.UNMEASURED


def test_reduced_and_brief_runs_say_that_the_verdict_is_theirs_alone(tmp_path, small):
    reasons = " ".join(judged(tmp_path, small)[0].reservations)
    assert "Reduced networks" in reasons and "800 iterations" in reasons and "test sets" in reasons


def test_only_brief_trainings_are_called_brief(tmp_path, small):
    results = results_of(tmp_path, small, iterations=100_000)
    brief = next(reason for reason in accuracy_reservations(results) if reason.startswith("Short runs"))
    assert brief == "Short runs: 100,000 iterations, where the papers train for 1,000,000 (SRResNet)."  # no VDSR


def test_one_image_gives_no_verdict():
    alone = PairGap(
        "Set5", "vdsr", 2, "", gap_of({"a": Score("a", 30.0, None, 0.9)}, {"a": Score("a", 29.9, None, 0.9)})
    )
    assert non_inferiority([alone], Thresholds(replicated=0.25, partly=0.6)) == Verdict.UNMEASURED


def test_a_full_run_has_no_reservation_but_its_seed(tmp_path):
    params = make_params(["srresnet"], [4], ["Set5"], "paper")
    results = results_of(tmp_path, params, iterations=1_000_000, parameters=1_550_000)
    claims = judge(results, params)
    exactly = "With float32 activations alone, 1.6×, the claim is not replicated."
    rounded = f"The fastest modes round activations, which the paper does not do. {exactly}"
    assert [claim.reservations for claim in claims] == [[ONE_SEED], [], [rounded]]


def test_the_same_rule_is_applied_to_the_published_ratios(tmp_path, small):
    results = results_of(tmp_path, small, speedup=4.0)
    limits = Thresholds(replicated=5.0, partly=2.0)
    timed = results.benchmarks["vdsr", 2]
    slower = {name: {**by, "engine_int8": 1.5} for name, by in timed.speedup.items()}
    runs = [timed, replace(timed, speedup=slower)]
    by_name = {
        "srresnet": PublishedRatios("srresnet", 4, False, {}, runs),
        "srresnet-body": PublishedRatios("srresnet", 4, True, {}, runs),
    }
    ratios = {"amx": by_name, "avx2": {}}
    said = speed_claim(replace(results, ratios=ratios), limits, 0.005).reservations[-1]
    size = "×".join(map(str, timed.lr_size))
    over = f"AMX (×4, LR image {size}) 2.5× to 4.0×, partly replicated"
    assert said == f"By the same rule, over networks and runs of `make ratios`: {over}."


@pytest.mark.parametrize(("iterations", "brief"), [(39_999, True), (40_000, False)])
def test_a_run_is_brief_below_half_the_iterations_of_its_paper(tmp_path, iterations, brief):
    params = make_params(["vdsr"], [4], ["Set5"])
    reasons = " ".join(judged(tmp_path, params, iterations=iterations)[0].reservations)
    assert ("where the papers train for 80,000 (VDSR)" in reasons) == brief


def test_a_float_network_below_bicubic_is_named(tmp_path, small):
    results = results_of(tmp_path, small)
    bicubic = results.bicubic["embedded-test", 2]
    better = {"bicubic": replace(bicubic.means["bicubic"], psnr_y=40.0)}
    results.bicubic["embedded-test", 2] = replace(bicubic, means=better)
    assert "SRResNet ×2 on embedded-test" in judge(results, small)[0].reservations[-1]
