"""The tables of the published networks: seeds, ablation, every score."""

from dataclasses import replace

import pytest

from pipeline.reporting import published_claim
from pipeline.reporting.distributions import zoo_distributions
from pipeline.reporting.gap_curves import gap_curves
from pipeline.reporting.provenance_tables import stage_table
from pipeline.reporting.published_claim import zoo_claim
from pipeline.reporting.published_tables import ablation_tables, gap_table, quality_table, score_tables
from pipeline.reporting.results import Point, read_results
from pipeline.reporting.verdicts import Verdict
from pipeline.zoo.catalogue import pairs
from tests.reporting.synthetic_run import make_params, write_run, write_zoo

VARIANTS = {"seed0": 0.20, "seed1": 0.10, "seed2": 0.32, "unscaled": 0.98, "mine": 0.20}


@pytest.fixture(scope="module")
def params():
    return make_params(["vdsr"], [2], ["embedded-test"])


@pytest.fixture(scope="module")
def results(params, tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    write_run(root, params)
    write_zoo(root, params.data.test, gap=0.18, variants=VARIANTS)
    return read_results(root, params)


def read_zoo(root, params):
    return read_results(root, params).zoo


def test_every_pair_has_its_gap_with_an_interval_and_seeds_their_mean(results, params):
    table = gap_table(results.zoo, params.report.claims.accuracy_gap_db)
    assert list(table.columns)[2:] == ["Set5", "Set14", "Urban100"]
    rows = [row.cells for row in table.rows]
    assert [(row[0].text, row[1].text) for row in rows] == [
        ("SRResNet ×4", "6,000"),
        ("SRResNet ×4, seed 0", "1,500"),
        ("SRResNet ×4, seed 1", "1,500"),
        ("SRResNet ×4, seed 2", "1,500"),
        ("SRResNet ×4, mean of 3 seeds", ""),
    ]
    pair, *_, mean = (row[2] for row in rows)
    assert (pair.text, pair.note, pair.kind) == ("0.18", "0.09 to 0.27", "gap middle")  # images of 0.09, 0.18, 0.27
    assert (mean.text, mean.note) == ("0.21", "0.10 to 0.32")  # of 0.20, 0.10 and 0.32


def test_the_gap_is_drawn_as_training_goes_on(results):
    (panel,) = gap_curves(results.zoo)
    assert panel.title == "SRResNet ×4: whole length solid, seed 0 dashed, seed 1 dotted, seed 2 dash-dotted"
    assert "after 500 iterations" in panel.drawing and "after 1,000" in panel.drawing


def test_a_network_for_several_scales_is_compared_with_the_mean_of_the_imported_ones(results):
    real, binary = next((real, binary) for real, binary in pairs(results.zoo.models) if not binary.variant)
    models = []
    for scale, psnr_y in ((2, 34.0), (4, 30.0)):
        training = real.training | {"imported": {"file": "a"}, "psnr_y": psnr_y}
        imported = replace(real, name=f"srresnet-x{scale}-float-imported", scale=scale, training=training)
        plan = binary.training["plan"] | {"start": {"name": imported.name, "sha256": imported.sha256}}
        training = binary.training | {"scales": [2, 4], "plan": plan}
        twin = replace(binary, name=f"srresnet-x{scale}-binary-imported", scale=scale, training=training)
        models += [replace(network, variant="imported") for network in (imported, twin)]
    history = [Point(500, 0.1, 31.5), Point(1000, 0.1, 31.75)]
    histories = {model.name: history for model in models if model.weights == "binary"}
    (panel,) = gap_curves(replace(results.zoo, models=models, histories=histories))
    assert panel.title == "SRResNet ×2 and ×4, imported"
    assert "0.50 dB after 500 iterations, 0.25 dB after 1,000" in panel.drawing


def test_gaps_are_called_by_the_limits_of_the_verdict(results, params):
    (table,) = score_tables(results.zoo, params.report.claims.accuracy_gap_db)
    binary = next(row.cells for row in table.rows if row.cells[1].text == "binary")
    assert {(cell.note, cell.kind) for cell in binary[4:]} == {("−0.18", "gap small")}


def test_an_ablation_sets_its_variants_beside_the_paper_s_method(results):
    (table,) = ablation_tables(results.zoo)
    rows = [row.cells for row in table.rows]
    assert [row[0].text for row in rows] == [
        "float",
        "learnable filter scale, residual blocks (the paper)",
        "no filter scale",
    ]
    real, base, unscaled = (row[3] for row in rows)
    assert [row[1].text for row in rows] == ["1,500"] * 3
    assert (real.text, real.note) == ("30.50", "+0.20") and (base.text, base.note) == ("30.30", "")
    assert (unscaled.text, unscaled.note) == ("29.52", "−0.78")
    assert table.title == "Ablation, SRResNet ×4"
    assert {cell.kind for row in rows for cell in row} == {""}  # no gap to a float network


def test_an_ablation_says_how_long_each_network_was_trained_in_all(results):
    models = []
    for model in results.zoo.models:
        if model.variant == "unscaled":
            start = {"name": "srresnet-x4-float-seed0", "sha256": ""}
            warm = {**model.training, "plan": {**model.training["plan"], "start": start}}
            longer = {**model.training, "iterations": 3000}
            model = replace(model, training=warm)
            models.append(replace(model, variant="twice", training=longer))
        models.append(model)
    (table,) = ablation_tables(replace(results.zoo, models=models))
    assert [row.cells[1].text for row in table.rows][2:] == ["1,500 + 1,500", "3,000"]


def test_the_verdict_names_the_commit_that_froze_it_and_counts_the_pair_alone(results, params):
    claim = zoo_claim(results.zoo, params.report.claims.accuracy_gap_db, "abcdef0123456789")
    assert claim.verdict == Verdict.PARTLY  # 0.18 dB, but up to 0.27
    assert claim.headline == "0.18 dB" and "0.09 to 0.27 dB" in claim.headline_label
    assert "commit abcdef0123." in claim.rule and "equal terms" in claim.conditions
    short, seeds, few = claim.reservations
    spread = "SRResNet ×4 also with 3, in shorter trainings, whose gaps on a set differ by at most 0.22 dB"
    assert seeds.startswith(f"Trained with one seed ({spread}): ")  # 0.32 and 0.10 dB
    assert few.endswith("too narrow: Set5 (3), Set14 (3) and Urban100 (3).")
    assert short.startswith("Short runs: 6,000 iterations with batches of 8 crops")


def test_a_training_image_among_the_test_images_is_said(results, params, monkeypatch):
    monkeypatch.setattr(published_claim, "SEEN", ("BSDS500-train", "original", "Set5", "c"))
    *_, said = zoo_claim(results.zoo, params.report.claims.accuracy_gap_db).reservations
    assert "c is a smaller copy of original" in said
    assert said.endswith("Without it, the gaps on Set5 are 0.13 to 0.13 dB.")  # one pair: (0.09 + 0.18) / 2


def test_one_seed_is_said(params, tmp_path):
    write_run(tmp_path, params)
    claim = zoo_claim(read_zoo(tmp_path, params), params.report.claims.accuracy_gap_db)
    assert any(reason.startswith("Trained with one seed: ") for reason in claim.reservations)


def test_the_pair_of_seed_0_stands_in_until_the_whole_one_is_there(params, tmp_path):
    write_run(tmp_path, params)
    write_zoo(tmp_path, params.data.test, variants={"seed0": 0.3}, alike=False)
    claim = zoo_claim(read_zoo(tmp_path, params), params.report.claims.accuracy_gap_db)
    assert claim.headline == "0.30 dB" and "seed 0" in claim.headline_label


def test_networks_that_were_not_trained_alike_are_no_pair(params, tmp_path):
    write_run(tmp_path, params)
    write_zoo(tmp_path, params.data.test, alike=False, variants={"unscaled": 0.2})
    zoo = read_zoo(tmp_path, params)
    limits = params.report.claims.accuracy_gap_db
    assert zoo_claim(zoo, limits).verdict == Verdict.UNMEASURED
    assert ablation_tables(zoo) == [] and zoo_distributions(zoo) == [] and not gap_table(zoo, limits)
    assert gap_curves(zoo) == []
    (table,) = score_tables(zoo, limits)
    binary = [row.cells for row in table.rows if row.cells[1].text == "binary"]
    assert {cell.note for cells in binary for cell in cells[4:]} == {""}


def test_a_zoo_without_variants_has_no_such_table(params, tmp_path):
    write_run(tmp_path, params)
    assert ablation_tables(read_zoo(tmp_path, params)) == []


def test_every_score_is_a_row(results):
    rows = [[cell.text for cell in row.cells] for row in quality_table(results.zoo).rows]
    scores = [len(backends) for sets in results.zoo.published.values() for backends in sets.values()]
    assert len(rows) == sum(scores)
    assert ["srresnet-x4-binary", "engine, int8", "Set5", "30.32", "28.72", "0.8500"] in rows


def test_gaps_of_images_are_drawn_with_their_range(results):
    (panel,) = zoo_distributions(results.zoo)
    assert "Set5: median +0.18 dB, from +0.09 dB to +0.27 dB over 3 images" in panel.drawing


def test_durations_are_those_of_this_run_s_stages_the_longest_first(results):
    rows = stage_table(results.seconds).rows
    assert [[cell.text for cell in row.cells] for row in rows] == [
        ["footprint", "1", "4 s", "4 s", ""],
        ["prepare", "1", "2 s", "2 s", "embedded-test"],
    ]


def test_a_pair_with_an_imported_network_says_that_the_two_were_not_trained_for_as_long(results, params):
    zoo = results.zoo
    real, binary = pairs(zoo.models)[0]
    record = {"imported": {"file": "a.mat"}, "plan": {"profile": "imported", "start": None}, "training_set": "theirs"}
    imported = replace(real, name="srresnet-x4-float-imported", variant="imported", training=record)
    plan = binary.training["plan"] | {"start": {"name": imported.name, "sha256": imported.sha256}}
    training = binary.training | {"plan": plan}
    published = zoo.published | {"srresnet-x4-binary-imported": {}}
    started = replace(binary, name="srresnet-x4-binary-imported", variant="imported", training=training)
    models, limits = [*zoo.models, imported, started], params.report.claims.accuracy_gap_db
    claim = zoo_claim(replace(zoo, models=models, published=published), limits)
    (said,) = [text for text in claim.reservations if text.startswith("SRResNet, imported: ")]
    assert "to the end of its authors’ schedule, the binary one for 6,000 iterations" in said

    better = {
        name: {"torch": replace(by["torch"], psnr_y=by["torch"].psnr_y + 0.3)}
        for name, by in zoo.published[real.name].items()
    }
    published |= {imported.name: better, started.name: zoo.published[binary.name]}
    scores = dict(zoo.scores)
    for name in better:
        rows = zoo.scores[real.name, name]["torch"]
        scores[imported.name, name] = {
            "torch": {key: replace(row, psnr_y=row.psnr_y + 0.3) for key, row in rows.items()}
        }
        scores[started.name, name] = zoo.scores[binary.name, name]
    claim = zoo_claim(replace(zoo, models=models, published=published, scores=scores), limits)
    (said,) = [text for text in claim.reservations if text.startswith("SRResNet, imported: ")]
    assert "Of the gap of 0.48 dB of SRResNet ×4 (imported) on Set5, 0.30 dB is by how far" in said
    assert ", of SRResNet ×4 on Set5, and 3 of 3 end at most at 0.60 dB." in said
