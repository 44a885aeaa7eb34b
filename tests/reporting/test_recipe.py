"""The report's section on the training settings."""

from dataclasses import replace

import pytest

from pipeline.reporting.recipe import describe, optimizer_panels, trial_table
from pipeline.reporting.results import read_results
from tests.reporting.synthetic_run import make_params, write_run


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    root, params = tmp_path_factory.mktemp("run"), make_params(["vdsr"], [2], ["embedded-test"])
    write_run(root, params, images=False)
    found = read_results(root, params)
    return found.zoo.search


def test_trials_with_the_same_changes_share_a_row_and_the_best_of_each_kind_is_marked(trials):
    rows = [row.cells for row in trial_table(trials).rows]
    assert [[cell.text for cell in row] for row in rows] == [
        ["EDSR ×4", "optimizer Muon, learning rate 0.001", "400", "26.70", "26.50", "4.8"],
        ["EDSR ×4", "optimizer Muon, learning rate 0.002", "400", "26.60", "26.55", "4.8"],
        ["EDSR ×4", "optimizer Adam, learning rate 0.001", "400", "26.10", "26.00", "4.8"],
    ]
    assert [[cell.kind for cell in row[3:5]] for row in rows] == [["strong", ""], ["", "strong"], ["", ""]]


def test_trials_of_several_networks_keep_rows_and_best_values_of_their_own(trials):
    others = [replace(trial, model="vdsr", scale=2, psnr_y=trial.psnr_y + 5) for trial in trials]
    rows = [row.cells for row in trial_table([*trials, *others]).rows]
    assert [row[0].text for row in rows] == ["EDSR ×4"] * 3 + ["VDSR ×2"] * 3
    assert [[cell.kind for cell in row[3:5]] for row in rows[:3]] == [["strong", ""], ["", "strong"], ["", ""]]
    assert [panel.drawing for panel in optimizer_panels([*trials, *others])] == [
        panel.drawing for panel in optimizer_panels(trials)
    ]


def test_trials_of_another_length_are_ranked_by_themselves(trials):
    longer = replace(trials[0], iterations=1500, psnr_y=trials[0].psnr_y + 5)
    *short, last = [row.cells for row in trial_table([longer, *trials]).rows]
    assert [[cell.kind for cell in row[3:5]] for row in short] == [["strong", ""], ["", "strong"], ["", ""]]
    assert last[2].text == "1,500" and "strong" in {cell.kind for cell in last[3:5]}


def test_each_optimizer_is_drawn_at_its_best_rate(trials):
    real, binary = optimizer_panels(trials)
    assert "Muon at 0.001 ends at 26.70 dB, the best of 2 rates; Adam at 0.001 ends at 26.10 dB" in real.drawing
    assert "Muon at 0.002 ends at 26.55 dB" in binary.drawing


def test_without_one_of_them_nothing_is_drawn(trials):
    assert optimizer_panels([trial for trial in trials if trial.changes["optimizer"] == "muon"]) == []


def test_changes_are_said_in_words():
    changes = {"schedule": {"kind": "linear", "flat": 0.5}, "latent_rate": 2.0}
    assert describe(changes) == "schedule kind linear flat 0.5, latent rate 2.0"
    assert describe({}) == "nothing"
