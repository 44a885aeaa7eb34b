"""Ending on a signal: what is saved, and that a rerun ends as if there had been no signal."""

import fcntl
import signal
import subprocess
import sys
import threading
import time

import pytest
import yaml
from safetensors.torch import load_file

from pipeline.profiles import compose
from pipeline.training.interruption import SIGNALS, STOPPED
from pipeline.zoo import locks
from pipeline.zoo.locks import claimed, is_claimed
from tests.conftest import ROOT
from tests.small import write_sets
from tests.small_zoo import ENVIRONMENT

COMMAND = ["-m", "stages.train", "--model", "edsr", "--scale", "2", "--weights", "binary"]
ITERATIONS = 300


NOTES_A_SIGNAL = """
import signal, sys
from pipeline.training.interruption import SIGNALS, interruptible
number = int(sys.argv[1])
before = [signal.getsignal(each) for each in SIGNALS]
with interruptible() as interruption:
    assert not interruption.asked
    signal.raise_signal(number)
    assert interruption.asked
assert [signal.getsignal(each) for each in SIGNALS] == before
try:
    with interruptible() as another:
        assert not another.asked
        raise ZeroDivisionError
except ZeroDivisionError:
    assert [signal.getsignal(each) for each in SIGNALS] == before
    print("noted")
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_and_the_handlers_come_back(number):
    # In a process of its own: a signal to this one may end the tests.
    command = [sys.executable, "-c", NOTES_A_SIGNAL, str(int(number))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "noted\n", done.stderr


def folder_of(path):
    """A folder in which `stages.train` trains a small network, with Muon and averaging as the profile says."""
    compose("quick", path / "params.yaml", ROOT / "conf")
    params = yaml.safe_load((path / "params.yaml").read_text())
    params["network"]["edsr"] |= {"blocks": 1, "channels": 32}
    params["train"]["edsr"] |= {"iterations": ITERATIONS, "batch": 2, "validate_every": 50, "checkpoint_every": 1000}
    (path / "params.yaml").write_text(yaml.safe_dump(params))
    write_sets(path, "embedded-train", "embedded-valid", height=48, width=40)
    return path


def start(folder):
    return subprocess.Popen([sys.executable, *COMMAND], cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def finish(process, exit_code):
    _, said = process.communicate()
    assert process.returncode == exit_code and "Traceback" not in said, said
    return said


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder in which it was trained without a signal."""
    folder = folder_of(tmp_path_factory.mktemp("whole"))
    finish(start(folder), 0)
    return folder


def test_a_closed_terminal_is_nothing_to_a_program_under_nohup():
    code = """
import signal
from pipeline.training.interruption import interruptible
with interruptible() as interruption:
    signal.raise_signal(signal.SIGHUP)
    print(interruption.asked, signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)
"""
    ignoring = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", sys.executable, "-c", code]
    assert subprocess.run(ignoring, cwd=ROOT, capture_output=True, text=True).stdout == "False True\n"


def test_a_signalled_training_saves_and_a_rerun_ends_with_the_same_weights(whole, tmp_path):
    folder = folder_of(tmp_path)
    checkpoint = folder / "checkpoints/quick/edsr-x2-binary"
    process = start(folder)
    while not (checkpoint / "progress.json").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)  # the tests of the zoo and of the cluster send the others
    said = finish(process, STOPPED)
    assert "stopped and saved in checkpoints/quick/edsr-x2-binary; the same command goes on from there" in said
    held = yaml.safe_load((checkpoint / "state.json").read_text())["state"]["record"]
    assert 0 < held["iteration"] < ITERATIONS
    assert not any((folder / name).exists() for name in ("models", "history", "results"))

    said = finish(start(folder), 0)
    assert f"going on from checkpoints/quick/edsr-x2-binary at iteration {held['iteration']}" in said
    assert not checkpoint.exists()
    files = ("models/edsr-x2-binary.safetensors", "history/edsr-x2-binary.csv")
    assert load_file(folder / files[0]).keys() == load_file(whole / files[0]).keys()
    for name in files:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    record = yaml.safe_load((folder / "results/train/edsr-x2-binary.json").read_text())
    assert (record["iterations"], record["stopped"]) == (ITERATIONS, "finished")


def test_a_lock_is_one_holders_until_it_ends(tmp_path):
    path = tmp_path / "folder" / ".a.lock"
    assert not is_claimed(path) and not path.parent.exists()  # to look leaves nothing behind
    with claimed(path) as mine:
        with claimed(path) as again:
            assert mine and not again
        assert is_claimed(path)
        with claimed(tmp_path / ".b.lock") as other:
            assert other
    assert path.exists() and not is_claimed(path)
    with claimed(path) as mine:
        assert mine


def test_a_glance_keeps_no_lock_from_who_wants_it(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "GLANCE_SECONDS", 600)  # however slow this machine is
    path = tmp_path / ".a.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        threading.Timer(0.2, fcntl.flock, (file, fcntl.LOCK_UN)).start()
        with claimed(path) as mine:
            assert mine


def test_a_killed_process_holds_no_lock(tmp_path):
    path = tmp_path / ".a.lock"
    code = "import sys, time; from pathlib import Path; from pipeline.zoo.locks import claimed\n"
    code += "with claimed(Path(sys.argv[1])) as mine: print(mine, flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    assert is_claimed(path)
    with path.open("w") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    process.kill()
    process.communicate()
    assert not is_claimed(path)
