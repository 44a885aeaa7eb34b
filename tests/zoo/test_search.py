"""The search for the training settings, by its command, on tiny networks and pictures."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from pipeline.errors import InputError
from pipeline.params import load_params
from pipeline.profiles import compose
from pipeline.zoo import search
from tests.conftest import ROOT
from tests.small import write_sets
from tests.small_zoo import Place

SEARCH = {
    "profile": "quick",
    "shared": {"iterations": 4, "batch": 2, "validate_every": 2, "checkpoint_every": 4},
    "trials": [
        {"model": "edsr", "scale": 2, "weights": "float", "changes": {"optimizer": "adam", "learning_rate": 0.01}},
        {"model": "edsr", "scale": 2, "weights": "binary", "changes": {"schedule": {"kind": "linear", "flat": 0.5}}},
        {"model": "vdsr", "scale": 4, "weights": "float", "changes": {"batch": 3, "iterations": 2}},
    ],
}
PARAMS = ("--params", "params.yaml")
NAMES = ["edsr-x2-float-optimizer-adam-learning_rate-0.01", "edsr-x2-binary-schedule-linear-0.5"]
NAMES += ["vdsr-x4-float-batch-3-iterations-2"]


@pytest.fixture
def place(tmp_path):
    """A folder with a search of three trials."""
    compose("quick", tmp_path / "params.yaml", ROOT / "conf")
    made = Place(tmp_path)
    made.change(lambda params: params["network"]["edsr"].update(blocks=1, channels=8))
    made.change(lambda params: params["network"]["vdsr"].update(layers=3, channels=8))
    for model, rate, patch in (("edsr", 0.002, {"size": 16, "of": "lr"}), ("vdsr", 0.001, {"size": 32, "of": "hr"})):
        chosen = {"optimizer": "muon", "learning_rate": rate, "patch": patch}  # whatever the profile says
        made.change(lambda params, model=model, chosen=chosen: params["train"][model].update(chosen))
    write_sets(tmp_path, "embedded-train", "embedded-valid", height=48, width=40)
    write(made, SEARCH)
    return made


def write(place, search):
    (place.folder / "conf").mkdir(exist_ok=True)
    (place.folder / "conf/search.yaml").write_text(yaml.safe_dump(search, sort_keys=False))


def table(place):
    with (place.folder / "zoo/search.csv").open() as file:
        return list(csv.DictReader(file))


def said(output):
    """What the command says, but for progress bars."""
    return [line for line in output.splitlines() if line and "%|" not in line]


def test_trials_are_made_once_and_stand_in_the_table(place):
    assert said(place.run("search", *PARAMS, "--threads", "1")) == NAMES
    records = {name: json.loads((place.folder / f"zoo/search/{name}.json").read_text()) for name in NAMES}
    rows = table(place)
    assert [row["network"] for row in rows] == ["edsr-x2-float", "edsr-x2-binary", "vdsr-x4-float"]
    assert [row["optimizer"] for row in rows] == ["adam", "muon", "muon"]
    assert [float(row["learning_rate"]) for row in rows] == [0.01, 0.002, 0.001]
    assert [row["iterations"] for row in rows] == ["4", "4", "2"]
    assert [row["crops"] for row in rows] == ["2 of 16", "2 of 16", "3 of 8"]
    schedule = {"schedule": {"kind": "linear", "flat": 0.5}}
    assert [json.loads(row["changes"]) for row in rows] == [{}, schedule, {"batch": 3}]
    for row, record in zip(rows, records.values(), strict=True):
        assert float(row["psnr_y"]) == pytest.approx(record["psnr_y"], abs=1e-4)
        assert [point["iteration"] for point in record["history"]] == ([2, 4] if record["iterations"] == 4 else [2])
        assert record["history"][-1]["psnr_y"] == record["psnr_y"] and record["threads"] == 1
        assert record["seed"] == 0 and record["environment"]["packages"]["torch"]
    rates = [point["learning_rate"] for point in records[NAMES[1]]["history"]]
    assert rates == pytest.approx([0.002, 0.001])  # constant for the first half, then straight down: what it changed

    before = {path.name: path.read_bytes() for path in (place.folder / "zoo/search").glob("*.json")}
    assert said(place.run("search", *PARAMS)) == []  # trains nothing
    assert before == {path.name: path.read_bytes() for path in (place.folder / "zoo/search").glob("*.json")}
    assert table(place) == rows

    (place.folder / f"zoo/search/{NAMES[1]}.json").unlink()  # as if it had been stopped in the middle
    assert said(place.run("search", *PARAMS, "--threads", "1")) == [NAMES[1]]
    again = json.loads((place.folder / f"zoo/search/{NAMES[1]}.json").read_text())
    assert again["history"] == records[NAMES[1]]["history"]


def refused(place, monkeypatch):
    """What the command says of a search that it refuses; run in this process, which is faster."""
    monkeypatch.chdir(place.folder)
    with pytest.raises(InputError) as error:
        search.main(Path("params.yaml"))
    assert "\n" not in str(error.value) and not (place.folder / "zoo").exists()
    return str(error.value)


@pytest.mark.parametrize(
    ("trial", "message"),
    [
        ({"changes": {"latent_rat": 2.0}}, "edsr-x2-float-latent_rat-2.0: latent_rat: Extra inputs are not permitted"),
        ({"changes": {"shedule": {"kind": "linear"}}}, "edsr-x2-float-shedule-linear: shedule: Extra inputs"),
        ({"changes": {"schedule": {"kind": "line"}}}, "edsr-x2-float-schedule-line: schedule.kind: Input should be"),
        ({"changes": {"batch": {"size": 3}}}, "edsr-x2-float-batch-3: batch: Input should be a valid integer"),
        ({"changes": {"momentum": 1.5}}, "edsr-x2-float-momentum-1.5: momentum: Input should be less than 1"),
        ({"scale": 5}, "trials.1.scale: Input should be 2, 3 or 4"),
        ({"change": {}}, "trials.1.change: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_field_is_named_in_one_line_before_anything_is_trained(place, monkeypatch, trial, message):
    right = {"model": "edsr", "scale": 2, "weights": "float", "changes": {}}
    write(place, SEARCH | {"trials": [right, right | trial]})
    said = refused(place, monkeypatch)
    assert (
        said.startswith(f"conf/search.yaml: {message}") and said.endswith("; correct it there") and "http" not in said
    )


def test_a_trial_that_diverges_does_not_keep_the_others_from_running(place, monkeypatch):
    run_trial = search.run_trial

    def diverging(trial, *arguments):
        if trial.name == NAMES[0]:
            raise InputError("training: the loss is not finite at iteration 1")
        run_trial(trial, *arguments)

    monkeypatch.setattr(search, "run_trial", diverging)
    output = place.run("search", *PARAMS, "--threads", "1", exit_code=2)
    assert f"error: {NAMES[0]}: training: the loss is not finite" in output
    assert [row["network"] for row in table(place)] == ["edsr-x2-binary", "vdsr-x4-float"]


@pytest.mark.parametrize("text", ["trials: [", "- 1", "profile: quick\nshared: {}\ntrials: []\n", None])
def test_what_is_no_search_is_refused_in_one_line(place, monkeypatch, text):
    path = place.folder / "conf/search.yaml"
    path.unlink() if text is None else path.write_text(text)
    assert refused(place, monkeypatch).startswith("conf/search.yaml: ")


def test_params_of_another_profile_are_refused(place, monkeypatch):
    write(place, SEARCH | {"profile": "cpu"})
    assert refused(place, monkeypatch) == (
        "params.yaml: is of the profile quick, and conf/search.yaml searches the settings of cpu; "
        "run: python -m pipeline.profiles cpu zoo/cpu.yaml"
    )


def test_by_default_it_reads_the_params_of_the_zoo(place):
    assert "error: zoo/cpu.yaml: no such file" in place.run("search", exit_code=2)


@pytest.mark.parametrize("threads", ["0", "-1"])
def test_a_number_of_threads_that_is_none_is_refused(place, threads):
    said = place.run("search", *PARAMS, "--threads", threads, exit_code=2)
    assert said == f"error: --threads: {threads}; choose a positive number\n"


def test_the_committed_search_is_of_fields_that_are_there():
    committed, params = search.load_search(ROOT / "conf/search.yaml"), load_params(ROOT / "zoo/cpu.yaml")
    assert committed.profile == params.profile
    names = [trial.name for trial in committed.trials]
    assert len(set(names)) == len(names)  # a second one of a name would never be made
    for trial in committed.trials:
        assert search.settings_of(trial, committed, params).iterations <= 1500


def test_the_committed_table_is_that_of_the_committed_trials(tmp_path):
    committed, params = search.load_search(ROOT / "conf/search.yaml"), load_params(ROOT / "zoo/cpu.yaml")
    search.write_table(committed, params, ROOT / "zoo/search", tmp_path / "search.csv")
    assert (tmp_path / "search.csv").read_text() == (ROOT / "zoo/search.csv").read_text()
    trials = {f"{trial.name}.json" for trial in committed.trials}
    assert {path.name for path in (ROOT / "zoo/search").glob("*.json")} <= trials
