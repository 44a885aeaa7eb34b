"""The tables of the published networks: seeds, ablation, every score."""

import pytest

from pipeline.reporting.distributions import image_gaps, zoo_distributions
from pipeline.reporting.durations import stage_rows
from pipeline.reporting.published_networks import ablation_tables, quality_rows, zoo_tables
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
    (table,) = ablation_tables(results.zoo, params.report.claims.accuracy_gap_db)
    assert [row.name.split(":")[0] for row in table.rows] == ["as the paper", "no scale", "mine"]
    base, unscaled, mine = (row.cells[0] for row in table.rows)
    assert (base.value, base.note, base.gap_kind) == ("30.32", "0.00", "small")
    assert table.network == "SRResNet ×4" and {row.size for row in table.rows} == {"800,000"}
    assert [row.iterations for row in table.rows] == ["6,000 + 6,000 (a short run)"] * 2 + ["6,000 (a short run)"]
    assert (mine.value, mine.note, mine.gap_kind) == ("30.30", "−0.02", "small")
    assert (unscaled.value, unscaled.note, unscaled.gap_kind) == ("29.52", "−0.80", "large")


def test_a_zoo_without_variants_has_no_such_table(params, tmp_path):
    write_run(tmp_path, params)
    results = read_results(tmp_path, params.matrix.models, params.matrix.scales, params.data.test, params.data.sets)
    assert ablation_tables(results.zoo, params.report.claims.accuracy_gap_db) == []


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
