"""The pipeline on a cluster of two worker processes, one of which is killed in the middle of a training."""

import csv
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipeline.cluster.__main__ import main
from tests.cluster.small_cluster import Cluster, start
from tests.small_repository import Repository

# Outputs that hold times; those of a training are in the metadata of its packed network too.
TIMED = ("packed", "reports", "results/benchmark", "results/seconds", "results/train", "results/zoo")
CHOSEN = ("export", "bicubic", "zoo")  # with all that they need: trainings, and a stage that measures time


@pytest.fixture
def small(published, tmp_path):
    return Repository.small(tmp_path / "repository", published.folder / "zoo")


@pytest.fixture
def cluster(small):
    cluster = Cluster(small.folder)
    yield cluster
    cluster.close()


def outputs(repository):
    """The hash of every output in dvc.lock that holds no time, by stage."""
    stages = yaml.safe_load((repository.folder / "dvc.lock").read_text())["stages"]
    return {
        name: {out["path"]: out["md5"] for out in stage.get("outs", []) if not out["path"].startswith(TIMED)}
        for name, stage in stages.items()
    }


def test_a_killed_worker_is_no_loss_and_what_measures_time_runs_alone(repository, small, cluster):
    for name in ("one", "two"):
        cluster.add(name)
    process = start(small.folder, "repro", *CHOSEN, "--scheduler", cluster.address)
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("train@edsr-2-float: on "):
            break
    worker = cluster.workers[cluster.name_of(said[-1].split()[-1])]
    state = small.folder / "checkpoints/quick/edsr-x2-float/state.json"
    while not state.exists() and process.poll() is None:
        time.sleep(0.005)
    worker.kill()
    output = "".join(said) + process.communicate()[0]
    assert process.returncode == 0, output
    assert "train@edsr-2-float: its worker died; it goes to another" in output
    assert (
        "going on from checkpoints/quick/edsr-x2-float"
        in (small.folder / ".dvc/tmp/cluster/train@edsr-2-float.log").read_text()
    )
    made = outputs(small)
    assert made == {name: each for name, each in outputs(repository).items() if name in made}
    assert "Running stage" not in small.dvc("repro", *CHOSEN)
    with (small.folder / ".dvc/tmp/cluster/timeline.csv").open() as file:
        rows = [(row["stage"], float(row["start"]), float(row["end"])) for row in csv.DictReader(file)]
    assert len(rows) == len(made)
    ((begin, end),) = [(begin, end) for name, begin, end in rows if name.startswith("zoo@")]
    assert [name for name, b, e in rows if not name.startswith("zoo@") and b < end and e > begin] == []


@pytest.fixture
def done(repository, tmp_path):
    """A copy in which the pipeline has run."""
    return repository.copy(tmp_path / "repository")


def test_where_nothing_has_changed_nothing_runs(done):
    process = start(done.folder, "repro", "--local", "1")
    output, _ = process.communicate()
    assert process.returncode == 0 and "stages run: 0; " in output, output
    assert "dashboard: http://127.0.0.1:" in output


def test_a_stage_that_fails_is_named_with_its_log_and_the_others_go_on(done):
    broken = done.folder / "stages/bicubic.py"
    broken.write_text("raise SystemExit('error: no such luck')\n")
    done.change(lambda params: params["export"].update(calibration_images=3))
    process = start(done.folder, "repro", "--local", "2")
    output, _ = process.communicate()
    assert process.returncode == 1, output
    log = ".dvc/tmp/cluster/bicubic@embedded-test-2.log"
    assert f"error: bicubic@embedded-test-2: exit code 1, see {log}" in output
    assert "no such luck" in (done.folder / log).read_text()
    assert "evaluate@embedded-test-edsr-2-binary: " in output  # does not depend on it
    assert "left out, since they depend on these: pictures@embedded-test-2, report" in output


def test_an_interrupted_call_saves_and_the_next_one_goes_on(done):
    done.change(lambda params: params["train"]["edsr"].update(iterations=300, checkpoint_every=20))
    process = start(done.folder, "repro", "train@edsr-2-float", "--local", "1")
    state = done.folder / "checkpoints/quick/edsr-x2-float/state.json"
    while not state.exists() and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: the call, its worker and the training all get it
    output, _ = process.communicate()
    assert process.returncode == 130 and "Traceback" not in output, output
    assert "stopped: train@edsr-2-float; run the same command again" in output
    process = start(done.folder, "repro", "train@edsr-2-float", "--local", "1")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "going on from" in (done.folder / ".dvc/tmp/cluster/train@edsr-2-float.log").read_text()
    assert done.would_run() & {"train@edsr-2-float"} == set()


@pytest.fixture
def cluster_command(repository, monkeypatch, capsys):
    """Run a command of `pipeline.cluster` in this process, where the pipeline has run; return exit code and output."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["cluster", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, "".join(capsys.readouterr())

    monkeypatch.chdir(repository.folder)
    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "cluster: give one of --scheduler, --local and --slurm"),
        (("--local", "1", "--scheduler", "tcp://127.0.0.1:1"), "cluster: give one of"),
        (("--scheduler", "nowhere"), "--scheduler: nowhere: cannot be reached"),
        (("--scheduler", "tls://127.0.0.1:1"), "--scheduler: tls://127.0.0.1:1: cannot be reached"),
        (("--slurm", "no-jobs.yaml"), "no-jobs.yaml: jobs: 0; choose at least 1"),
        (("--slurm", "no-network.yaml"), "no-network.yaml: "),
        (("--slurm", "conf/cluster/slurm.yaml"), "--slurm: there is no sbatch on this machine"),
        (("nothing", "--local", "1"), "dvc: Stage 'nothing' not found"),
        (("--slurm", "missing.yaml"), "missing.yaml: "),
        (("--dry-run",), "give --slurm FILE"),
    ],
)
def test_wrong_arguments_are_said_in_one_line(cluster_command, arguments, message, monkeypatch):
    monkeypatch.setenv("PATH", "")  # without SLURM's commands
    for name, wrong in (("no-jobs", {"jobs": 0}), ("no-network", {"interface": "nothing0"})):
        Path(f"{name}.yaml").write_text(yaml.safe_dump({"jobs": 1, "cores": 1, "memory": "1GB", **wrong}))
    code, output = cluster_command("repro", *arguments)
    assert code == 2 and output.count("error: ") == 1 and message in output, output


def test_the_script_of_a_slurm_job_is_shown(cluster_command):
    code, output = cluster_command("repro", "--slurm", "conf/cluster/slurm.yaml", "--dry-run")
    assert code == 0, output
    lines = output.rstrip().splitlines()
    assert lines[0] == "# 4 of these:"
    for line in ("-p gpu", "-n 1", "--cpus-per-task=16", "--mem=60G", "-t 48:00:00", "--exclusive", "--gres=gpu:1"):
        assert f"#SBATCH {line}" in lines
    assert ". .venv/bin/activate" in lines
    assert "--nthreads 16" in lines[-1] and "--resources GPU=1" in lines[-1]
