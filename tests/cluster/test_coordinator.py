"""The coordinator on a cluster inside this process, with stages that are shell commands."""

import shlex
import threading
import time

import pytest

pytest.importorskip("distributed", reason="needs the extra `cluster`")

from distributed import Client, Future
from filelock import FileLock

from pipeline.cluster import coordinator, work
from pipeline.cluster.coordinator import LOGS, Coordinator
from pipeline.errors import InputError
from pipeline.training.interruption import Interruption


class Graph:
    """Stages by name: a shell command, what they depend on, and what they need."""

    def __init__(self, folder, stages):
        self.root, self._stages = str(folder), stages

    @property
    def names(self):
        return list(self._stages)

    def dependencies(self, name):
        return self._stages[name][1]

    def need(self, name):
        return self._stages[name][2]

    def command(self, name, cores):
        return f"sh -c {shlex.quote(self._stages[name][0])}"

    def environment(self, name):
        return {}

    def changed(self, name):
        return True

    def restored(self, name):
        if name == "lacking":
            raise InputError("lacking: a dependency is missing")
        return False

    def record(self, name):
        if name == "forgetful":
            raise InputError("forgetful: made nothing")


@pytest.fixture(scope="module")
def client():
    with Client(processes=False, n_workers=1, threads_per_worker=3, dashboard_address=None) as client:
        yield client


@pytest.fixture
def run(client, tmp_path):
    def run(stages, interruption=None):
        graph = Graph(tmp_path, stages)
        coordinated = Coordinator(graph, client, 1.0, lambda text: None, {})
        return coordinated.run(interruption or Interruption(), lambda outcome: None)

    return run


def test_a_stage_gets_the_threads_that_it_asks_for(run, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # as Dask sets it for its workers
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    write = "echo ${OMP_NUM_THREADS:-all} ${NUMBA_NUM_THREADS:-all} > "
    stages = {need: (write + need, [], need) for need in ("core", "training", "machine")}
    assert sorted(run(stages).ran) == ["core", "machine", "training"]
    assert {need: (tmp_path / need).read_text().strip() for need in stages} == {
        "core": "1 1",
        "training": "3 3",
        "machine": "all all",
    }


def test_a_command_that_a_signal_from_outside_ended_runs_again(run, tmp_path):
    outcome = run({"a": ("test -e there || { touch there; kill -TERM $$; }", [], "training")})
    assert outcome.ran == ["a"] and (tmp_path / "there").exists()


def test_what_goes_wrong_on_a_worker_is_the_reason(run, tmp_path):
    (tmp_path / LOGS / "a.log").mkdir(parents=True)  # where its output should go
    outcome = run({"a": ("true", [], "core"), "b": ("true", ["a"], "core"), "c": ("true", [], "core")})
    assert "IsADirectoryError" in outcome.failed["a"]
    assert outcome.skipped == ["b"] and outcome.ran == ["c"]


def test_a_stage_without_its_outputs_fails(run):
    assert run({"forgetful": ("true", [], "core")}).failed == {"forgetful": "forgetful: made nothing"}


@pytest.mark.parametrize("waits", [False, True])
def test_an_interruption_ends_a_command_also_one_that_waits_for_its_log(run, tmp_path, waits):
    interruption = Interruption()
    (tmp_path / LOGS).mkdir(parents=True)
    lock = FileLock(tmp_path / LOGS / "a.log.lock")
    if waits:
        lock.acquire()  # as a command of a coordinator that was killed

    def ask():
        while not (waits or (tmp_path / "started").exists()):
            time.sleep(0.01)
        interruption.asked = True

    threading.Timer(0.5, ask).start()
    outcome = run({"a": ("touch started; sleep 600", [], "core"), "b": ("true", ["a"], "core")}, interruption)
    assert outcome.stopped == ["a"] and outcome.interrupted and not outcome.ran
    lock.release()
    assert (tmp_path / "started").exists() != waits


def test_what_an_earlier_call_left_running_saves_and_ends_first(client, run, tmp_path):
    (tmp_path / LOGS).mkdir(parents=True)
    script = "trap 'sleep 0.5; echo saved >> order; exit 0' TERM; touch started; while :; do sleep 0.05; done"
    arguments = (f"sh -c {shlex.quote(script)}", str(tmp_path), str(tmp_path / LOGS / "a.log"), {})
    earlier = client.submit(work.run_command, "a", *arguments, pure=False)
    while not (tmp_path / "started").exists():
        time.sleep(0.01)
    outcome = run({"a": ("echo new >> order", [], "core"), "b": ("echo other >> order", [], "machine")})
    assert outcome.ran == ["a", "b"] and earlier.result().exit_code == 0
    assert (tmp_path / "order").read_text().split() == ["saved", "new", "other"]


@pytest.mark.parametrize(("seconds", "fails"), [(600, True), (0, False)])
def test_a_worker_lost_after_long_is_no_fault_of_its_stage(run, tmp_path, monkeypatch, seconds, fails):
    monkeypatch.setattr(coordinator, "LONG_SECONDS", seconds)
    outcome = run({"a": ("echo x >> runs; test $(wc -l < runs) -gt 4 || kill -TERM $$", [], "core")})
    assert (outcome.ran == ["a"]) != fails and ("a" in outcome.failed) == fails


def test_a_stage_whose_worker_died_with_its_result_runs_again(run, monkeypatch):
    result, lost = Future.result, []

    def once_lost(future, timeout=None):
        if not lost:
            lost.append(future)
            raise TimeoutError
        return result(future, timeout)

    monkeypatch.setattr(Future, "result", once_lost)
    outcome = run({"a": ("true", [], "core")})
    assert lost and outcome.ran == ["a"] and not outcome.failed


def test_a_stage_that_lacks_a_dependency_fails_and_the_others_run(run):
    outcome = run(
        {"lacking": ("true", [], "core"), "after": ("true", ["lacking"], "core"), "other": ("true", [], "core")}
    )
    assert outcome.failed == {"lacking": "lacking: a dependency is missing"}
    assert (outcome.ran, outcome.skipped) == (["other"], ["after"])
