"""The plan of a profile, from the times of a run."""

import csv
import re
import subprocess
import sys

import pytest

from pipeline.cluster.estimate import Measured, estimate
from pipeline.cluster.stages import profile_graph
from tests.cluster.small_cluster import start
from tests.conftest import ROOT


def test_the_plan_of_the_profiles_is_printed_and_written(repository):
    process = start(repository.folder, "plan", "--csv", "plan.csv")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    with (repository.folder / "plan.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["profile"], int(row["workers"])) for row in rows] == [
        (profile, count) for profile in ("bsd", "paper") for count in (1, 2, 4, 8, 16, 64)
    ]
    for row in rows:
        chain, seconds, serial = (int(row[key]) for key in ("longest_chain_seconds", "seconds", "serial_seconds"))
        assert chain - 1 <= seconds <= serial + 1 and 0 <= float(row["idle_share"]) < 1
    # Which chain is the longest depends on how long each stage happened to take.
    chains = re.findall(r"longest chain, .*: (\S+(?: → \S+)*)$", output, re.MULTILINE)
    assert len(chains) == 2 and all(chain.endswith(" → report") for chain in chains), output


def test_where_nothing_was_measured(untrained, tmp_path):
    place = untrained.copy(tmp_path / "place")
    for name in ("dvc.yaml", "params.yaml"):
        (place.folder / name).write_text((ROOT / name).read_text())
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=place.folder, check=True)
    process = start(place.folder, "plan")
    output, _ = process.communicate()
    assert process.returncode == 2 and "no stage has been measured; run `make repro`" in output, output


def test_durations_are_in_proportion_to_work(repository, monkeypatch):
    monkeypatch.chdir(ROOT)
    with profile_graph("bsd") as (graph, params):
        groups = {name.partition("@")[0] for name in graph.names}
        measured = [Measured(group, w, 1e12, 7.0) for group in groups for w in (None, "float", "binary")]
        seconds = estimate(graph, params, measured, 0.5)
        longer = params.model_copy(
            update={"train": params.train.model_copy(update={"edsr": _twice_as_long(params.train.edsr)})}
        )
        doubled = estimate(graph, longer, measured, 0.5)
    assert seconds.keys() == set(graph.names)
    for name in graph.names:
        factor = 2 if name.startswith("train@edsr") else 1
        assert doubled[name] - 0.5 == pytest.approx(factor * (seconds[name] - 0.5)), name
    # SRResNet's network runs on LR pixels: at ×4 as many LR crops of 24 pixels as of 48 at ×2, so a quarter of the work
    assert seconds["train@srresnet-4-float"] < seconds["train@srresnet-2-float"] / 2


def _twice_as_long(training):
    return training.model_copy(update={"iterations": 2 * training.iterations})
