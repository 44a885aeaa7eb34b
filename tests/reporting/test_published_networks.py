"""The tables of the published networks: seeds, ablation, every score."""

import json

import pytest

from pipeline.reporting.claims import Verdict
from pipeline.reporting.distributions import image_gaps, zoo_distributions
from pipeline.reporting.durations import stage_rows
from pipeline.reporting.published_networks import ablation_tables, quality_rows, zoo_claim, zoo_tables
from pipeline.reporting.results import read_results
from tests.reporting.synthetic_run import make_params, write_run, write_zoo

VARIANTS = {"seed1": 0.10, "seed2": 0.32, "unscaled": 0.98, "mine": 0.20}


@pytest.fixture(scope="module")
def params():
    return make_params(["vdsr"], [2], ["embedded-test"])


@pytest.fixture(scope="module")
def results(params, tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    write_run(root, params)
    write_zoo(root, params.data.test, gap=0.18, variants=VARIANTS)
    return read_results(root, params.matrix.models, params.matrix.scales, params.data.test, params.data.sets)


def read_zoo(root, params):
    return read_results(root, params.matrix.models, params.matrix.scales, params.data.test, params.data.sets).zoo


def test_seeds_are_one_row_with_mean_and_range(results, params):
    (table,) = zoo_tables(results.zoo, params.report.claims.accuracy_gap_db)
    (spread,) = [row for row in table.rows if row.kind == "spread"]
    assert (spread.weights, spread.by) == ("binary", "PyTorch, mean of 3 seeds")
    first = spread.cells[0]  # 30.5 less 0.18, 0.10 and 0.32
    assert (first.value, first.note) == ("30.30", "30.18 – 30.40")
    assert "unscaled" not in str(table.rows)


def test_gaps_are_called_by_the_limits_of_the_verdict(results, params):
    (table,) = zoo_tables(results.zoo, params.report.claims.accuracy_gap_db)
    binary = next(row for row in table.rows if row.weights == "binary")
    assert {(cell.note, cell.gap_kind) for cell in binary.cells} == {("−0.18", "small")}


def test_an_ablation_sets_its_variants_beside_the_paper_s_method(results, params):
    (table,) = ablation_tables(results.zoo)
    assert [row.name.split(":")[0] for row in table.rows] == [
        "learnable scale, residual blocks",
        "no scale",
        "mine",
    ]
    base, unscaled, mine = (row.cells[0] for row in table.rows)
    assert (base.value, base.note) == ("30.32", "0.00")
    assert table.network == "SRResNet ×4" and {row.size for row in table.rows} == {"800,000"}
    assert [row.iterations for row in table.rows] == ["6,000 + 6,000"] * 2 + ["6,000"]
    assert all(row.short for row in table.rows)
    assert (mine.value, mine.note) == ("30.30", "−0.02")
    assert (unscaled.value, unscaled.note) == ("29.52", "−0.80")
    assert {cell.gap_kind for row in table.rows for cell in row.cells} == {""}  # no gap to a float network


def test_a_float_network_trained_on_is_in_the_ablation_and_can_decide_the_verdict(params, tmp_path):
    limits = params.report.claims.accuracy_gap_db
    for gain, verdict, headline in ((0.05, Verdict.REPLICATED, "0.23 dB"), (0.12, Verdict.PARTLY, "0.30 dB")):
        write_run(tmp_path, params)
        write_zoo(tmp_path, params.data.test, gap=0.18, control=gain)
        zoo = read_zoo(tmp_path, params)
        (table,) = ablation_tables(zoo)
        assert table.rows[1].name == "nothing, trained for as long"
        assert table.rows[1].cells[0].value == f"{30.5 + gain:.2f}"
        (published,) = zoo_tables(zoo, limits)
        rows = [(row.weights, row.iterations, row.cells[0].value) for row in published.rows if row.weights][:3]
        assert rows[0] == ("float", "6,000", "30.50") and rows[2][2] == "30.32"
        assert rows[1] == ("float", "6,000 + 6,000", f"{30.5 + gain:.2f}")
        assert [row.short for row in published.rows if row.weights] == [True, True, True, False]
        assert next(row for row in published.rows if row.weights == "binary").cells[0].note == f"−{0.18 + gain:.2f}"
        (panel,) = zoo_distributions(zoo)
        assert panel.title == "SRResNet ×4, trained for as long" and f"median +{0.18 + gain:.2f} dB" in panel.drawing
        claim = zoo_claim(zoo, limits)
        assert (claim.verdict, claim.headline) == (verdict, headline)
        (measure,) = [measure for measure in claim.measures if "for as long" in measure.label]
        assert measure.label == "SRResNet ×4, trained for as long" and measure.value == headline
        assert claim.headline_label.endswith("beside a float network trained for as long")
        assert "short runs" in claim.reservations[0]
        assert claim.reservations[1:] == [
            "SRResNet ×4: trained from one seed, so that how much of a gap is chance is not known."
        ]
        measures = {measure.label: measure.value for measure in claim.measures}
        assert measures["largest gap, PSNR-Y"] == headline and measures["largest gap, below the start"] == "0.18 dB"
        write_zoo(tmp_path, params.data.test, gap=0.18)
        claim = zoo_claim(read_zoo(tmp_path, params), limits)
        assert claim.headline_label.endswith("among the published pairs")
        assert "SRResNet ×4: binary networks went on from" in claim.reservations[1]
        assert "2.0 times as many iterations" in claim.reservations[1]


def test_a_binary_network_whose_float_network_was_replaced_has_no_gap(params, tmp_path):
    write_run(tmp_path, params)
    write_zoo(tmp_path, params.data.test, control=0.1, variants={"unscaled": 0.2})
    path = tmp_path / "zoo/index.json"
    index = json.loads(path.read_text())
    index["models"][0] |= {"sha256": "ef" * 32}
    path.write_text(json.dumps(index))
    results = tmp_path / "zoo/results.json"
    results.write_text(results.read_text().replace("cd" * 32, "ef" * 32, 1))
    zoo = read_zoo(tmp_path, params)
    assert zoo.models[0].name == "srresnet-x4-float"
    assert zoo_claim(zoo, params.report.claims.accuracy_gap_db).verdict == Verdict.UNMEASURED
    assert ablation_tables(zoo) == [] and zoo_distributions(zoo) == []
    (table,) = zoo_tables(zoo, params.report.claims.accuracy_gap_db)
    assert {cell.note for row in table.rows if row.weights == "binary" for cell in row.cells} == {""}


def test_a_zoo_without_variants_has_no_such_table(params, tmp_path):
    write_run(tmp_path, params)
    assert ablation_tables(read_zoo(tmp_path, params)) == []


def test_every_score_is_a_row(results):
    rows = quality_rows(results.zoo)
    scores = [len(backends) for sets in results.zoo.published.values() for backends in sets.values()]
    assert len(rows) == sum(scores)
    assert ("srresnet-x4-binary", "engine, int8", "Set5", "30.32", "28.72", "0.8500") in rows


def test_gaps_of_images_are_drawn_with_their_range(results):
    zoo = results.zoo
    gaps = image_gaps(zoo.images["srresnet-x4-float", "Set5"], zoo.images["srresnet-x4-binary", "Set5"])
    assert gaps == pytest.approx([0.09, 0.18, 0.27])
    (panel,) = zoo_distributions(zoo)
    assert "Set5: median +0.18 dB, from +0.09 dB to +0.27 dB over 3 images" in panel.drawing


def test_durations_are_those_of_this_run_s_stages_the_longest_first(results):
    rows = stage_rows(results.seconds)
    assert [(row.stage, row.runs, row.total, row.of) for row in rows] == [
        ("footprint", 1, "4 s", ""),
        ("prepare", 1, "2 s", "embedded-test"),
    ]
