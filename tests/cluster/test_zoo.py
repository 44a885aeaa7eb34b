"""The zoo's queue and the check of its scores on a cluster of two worker processes, one of which is killed."""

import json
import re
import shutil
import subprocess
import time

import pytest

from pipeline.packed import read
from tests.cluster.small_cluster import Cluster, start
from tests.conftest import ROOT
from tests.small_zoo import TRAININGS

QUEUE = ("--params", "params.yaml", "--queue", "queue.yaml")


@pytest.fixture
def cluster(untrained, tmp_path):
    place = untrained.copy(tmp_path / "place")
    cluster = Cluster(place.folder)
    for name in ("one", "two"):
        cluster.add(name)
    yield cluster
    cluster.close()


def until(process, begin):
    """Read what a process says until a line that begins so; return all of it."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(begin):
            break
    return "".join(lines)


def test_the_queue_is_trained_though_a_worker_is_killed(published, cluster):
    process = start(cluster.folder, "train", *QUEUE, "--scheduler", cluster.address)
    output = until(process, "edsr-x2-binary: on ")
    worker = cluster.workers[cluster.name_of(output.split()[-1])]
    state = cluster.folder / "zoo/unfinished/quick/edsr-x2-binary/state.json"
    while not state.exists() and process.poll() is None:
        time.sleep(0.005)
    worker.kill()
    output += process.communicate()[0]
    assert process.returncode == 0, output
    assert "edsr-x2-binary: its worker died; it goes to another" in output
    assert f"trainings run: {len(TRAININGS)}; already up to date: 0" in output
    assert output.index("edsr-x2-float-seed5: ") < output.index("edsr-x2-binary-warm: on ")  # starts from it
    for path in sorted((published.folder / "zoo").glob("*.safetensors")):
        one, other = read(path), read(cluster.folder / "zoo" / path.name)
        assert one.tensors.keys() == other.tensors.keys()
        for name, value in one.tensors.items():
            assert (value == other.tensors[name]).all(), (path.name, name)


def test_scores_are_verified_though_a_worker_is_killed(published, cluster):
    shutil.copytree(published.folder / "zoo", cluster.folder / "zoo", dirs_exist_ok=True)
    options = ("--all", "--sets", "embedded-test")
    process = start(cluster.folder, "verify", *options, "--scheduler", cluster.address)
    output = until(process, "  1/")
    cluster.workers["one"].kill()
    output += process.communicate()[0]
    assert process.returncode == 0, output
    assert re.search(r"^all \d+ equal", output, re.MULTILINE), output


def test_scores_are_verified_by_workers_that_come_late(published, untrained, tmp_path):
    place = untrained.copy(tmp_path / "place")
    shutil.copytree(published.folder / "zoo", place.folder / "zoo", dirs_exist_ok=True)
    cluster = Cluster(place.folder)
    try:
        process = start(cluster.folder, "verify", "--all", "--sets", "embedded-test", "--scheduler", cluster.address)
        output = until(process, "waiting for workers")
        cluster.add("one")
        output += until(process, "  1/")
        cluster.workers["one"].kill()  # and there is no other yet
        cluster.add("two")
        output += process.communicate()[0]
    finally:
        cluster.close()
    assert process.returncode == 0, output
    assert re.search(r"^all \d+ equal", output, re.MULTILINE), output


def test_a_score_that_differs_is_an_error(published, cluster):
    shutil.copytree(published.folder / "zoo", cluster.folder / "zoo", dirs_exist_ok=True)
    path = cluster.folder / "zoo/results.json"
    changed = json.loads(path.read_text())
    changed["methods"]["edsr-x2-binary"]["sets"]["embedded-test"]["torch"]["psnr_y"] += 0.02
    path.write_text(json.dumps(changed))
    chosen = ("--sets", "embedded-test", "--models", "edsr-x2-binary")
    process = start(cluster.folder, "verify", *chosen, "--local", "1")
    output, _ = process.communicate()
    assert process.returncode == 1 and "error: 1 of 4 differ from zoo/results.json" in output, output


def test_a_scheduler_that_is_lost_and_a_second_call_that_goes_on(untrained, tmp_path):
    place = untrained.copy(tmp_path / "place")
    place.change(lambda params: params["train"]["edsr"].update(iterations=300))
    (place.folder / "queue.yaml").write_text("- {model: edsr, scales: [2], weights: binary}\n")
    state = place.folder / "zoo/unfinished/quick/edsr-x2-binary/state.json"
    cluster = Cluster(place.folder)
    try:
        cluster.add("one")
        process = start(place.folder, "train", *QUEUE, "--scheduler", cluster.address)
        while not state.exists() and process.poll() is None:
            time.sleep(0.02)
    finally:
        cluster.close()
    output, _ = process.communicate()
    assert process.returncode == 2 and "error: cluster: the scheduler was lost" in output, output
    assert "Traceback" not in output
    process = start(place.folder, "train", *QUEUE, "--local", "1")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    log = (place.folder / ".dvc/tmp/cluster/edsr-x2-binary.log").read_text()
    assert "going on from" in log, output


def test_make_takes_the_address_of_a_scheduler():
    for target, command in (
        ("verify", "python -m pipeline.cluster verify --scheduler tcp://a:1"),
        ("train", "python -m pipeline.cluster train --scheduler tcp://a:1"),
    ):
        words = ["make", "--dry-run", target, "CLUSTER=tcp://a:1", "MINUTES=5"]
        said = " ".join(subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split())
        assert command in said
    assert "--params zoo/cpu.yaml --minutes 5" in said.replace("\\ ", "")
