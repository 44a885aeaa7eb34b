"""The coordinator: runs the commands of a graph on a cluster, each as soon as those that it depends on have ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from distributed import Client, Future, KilledWorker, wait
from distributed.client import CancelledError

from pipeline.cluster import work
from pipeline.cluster.clusters import workers
from pipeline.cluster.placement import Need, Placement, in_turn
from pipeline.errors import InputError
from pipeline.files import write_csv
from pipeline.training.interruption import STOPPED, Interruption

LOGS = Path(".dvc", "tmp", "cluster")
TIMELINE = "timeline.csv"
GLANCE_SECONDS = 0.3  # between two looks at workers and stages
RESULT_SECONDS = 30  # for what a stage that has ended returns: a few numbers, which its worker has
MOST_LOSSES = 3  # of workers under one stage: so many are the stage's fault, as when it takes all memory
LONG_SECONDS = 600  # a stage that has run for longer when its worker is lost is not at fault: jobs have a time limit
ENDED_BY_SIGTERM = (STOPPED, -signal.SIGTERM)  # by SLURM's time limit, say


class Graph(Protocol):
    """Stages, each a command, and what they depend on: those of the pipeline, or the trainings of the zoo's queue."""

    @property
    def root(self) -> str:
        """The folder in which the commands run."""

    @property
    def names(self) -> list[str]:
        """The stages, each after those that it depends on."""

    def dependencies(self, name: str) -> list[str]:
        """Return the stages that must have ended before."""

    def need(self, name: str) -> Need:
        """Return what a stage asks for."""

    def command(self, name: str, cores: int) -> str:
        """Return a stage's command on a worker with so many cores."""

    def environment(self, name: str) -> dict[str, str]:
        """Return the variables that its command gets."""

    def changed(self, name: str) -> bool:
        """Return whether a stage must run; asked once those that it depends on have ended."""

    def restored(self, name: str) -> bool:
        """Make a stage ready to run, or take its outputs from an earlier run and return True."""

    def record(self, name: str) -> None:
        """Record a stage that ran; raise InputError if what it should have made is not there."""


@dataclass
class Outcome:
    """What became of the stages.

    Attributes
    ----------
    unchanged, ran, skipped, stopped : list of str
        `skipped` depend on one that failed; `stopped` were interrupted.
    failed : dict of str
        Why, by stage.
    interrupted : bool
    """

    unchanged: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def finished(self) -> int:
        """The number of stages of which nothing more is to come."""
        return len(self.unchanged) + len(self.ran) + len(self.skipped) + len(self.failed)


class Coordinator:
    """Runs the stages of a graph on a cluster.

    Parameters
    ----------
    graph : Graph
    client : Client
    gpus : float
        See `Placement`.
    say : callable
        Takes each line of the course of events.
    ahead : mapping
        See `in_turn`; if it is empty, stages start in the order of the graph.
    """

    def __init__(
        self, graph: Graph, client: Client, gpus: float, say: Callable[[str], None], ahead: Mapping[str, float]
    ) -> None:
        self._graph, self._client, self._say, self._ahead = graph, client, say, ahead
        self._placement = Placement(gpus)
        self._waiting = {name: {d for d in graph.dependencies(name) if d in graph.names} for name in graph.names}
        self._ready: list[str] = []
        self._running: dict[str, Future] = {}
        self._losses: dict[str, int] = {}
        self._started: dict[str, float] = {}
        self._timeline: list[dict[str, object]] = []
        self.outcome = Outcome()
        self._logs = Path(graph.root) / LOGS
        self._warned = self._stopping = False

    def run(self, interruption: Interruption, progress: Callable[[Outcome], object]) -> Outcome:
        """Run until every stage has ended, or on an interruption those that run have saved what they have.

        `progress` is called now and then.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            self._end_earlier(interruption)
            while self._running or not (interruption.asked or self.outcome.finished == len(self._graph.names)):
                if interruption.asked:
                    self._stop()
                self._look_at_workers()
                self._look_at_stages()
                if not self._stopping:
                    self._start()
                progress(self.outcome)
                if self._running:
                    wait_briefly(list(self._running.values()))
                elif self._ready:  # for workers
                    time.sleep(GLANCE_SECONDS)
        except BaseException:
            with suppress(Exception):  # such as a scheduler that is lost
                self._stop()
            raise
        finally:
            if self._timeline:
                write_csv(self._logs / TIMELINE, self._timeline)
        self.outcome.interrupted = interruption.asked and self.outcome.finished < len(self._graph.names)
        return self.outcome

    def _end_earlier(self, interruption: Interruption) -> None:
        """Have the commands end that outlived the coordinator of an earlier call, after they have saved what they have.

        Otherwise they would make the outputs of stages that start anew, beside stages that measure time.
        """
        while names := sorted({name for each in self._client.run(work.stop_all).values() for name in each}):
            if not self._stopping:
                self._say(f"stopping what an earlier call left running: {', '.join(names)}")
            self._stopping = True
            if interruption.asked:
                break
            time.sleep(GLANCE_SECONDS)
        self._stopping = False

    def _stop(self) -> None:
        """Ask the commands that run to save what they have, again for one that has only just started."""
        self._stopping = True
        if self._running:
            self._client.run(work.stop, list(self._running), on_error="ignore")

    def _look_at_workers(self) -> None:
        """Take stages back from workers that are gone."""
        for name in self._placement.update(workers(self._client)):
            self._running.pop(name).cancel(force=True)
            self._lost(name)

    def _look_at_stages(self) -> None:
        """Record the stages that have ended."""
        for name, future in list(self._running.items()):
            if not future.done():
                continue
            del self._running[name]
            if future.status == "error" and not isinstance(error := future.exception(), KilledWorker):
                address = self._placement.release(name).address
                self._fail(name, f"{address}: {type(error).__name__}: {' '.join(str(error).split())}")
                continue
            if future.status != "finished":
                self._lost(name)
                continue
            try:
                ran = future.result(timeout=RESULT_SECONDS)
            except (TimeoutError, CancelledError):  # its worker died with the result
                future.cancel(force=True)
                self._lost(name)
                continue
            if ran.exit_code in ENDED_BY_SIGTERM and not self._stopping:
                self._lost(name)
                continue
            worker = self._placement.release(name)
            self._timeline.append({"stage": name, "worker": worker.address, "start": ran.start, "end": ran.end})
            if self._stopping and ran.exit_code != 0:
                self._stopped(name)
            elif ran.exit_code == 0:
                self._record(name, ran.end - ran.start)
            else:
                self._fail(name, f"exit code {ran.exit_code}, see {LOGS / _log(name)}")

    def _start(self) -> None:
        """Start the stages for which there is room."""
        self._find_ready()
        if self._ready and self._placement.empty != self._warned:
            self._warned = self._placement.empty
            if self._warned:
                self._say("waiting for workers")
        for name in in_turn(self._ready, self._graph.need, self._ahead):
            need = self._graph.need(name)
            worker = self._placement.place(name, need)
            if worker is None:
                if not (self._running or self._placement.empty or self._placement.fits(need)):
                    self._ready.remove(name)
                    self._fail(name, f"no worker is large enough for a {need}")
                continue
            self._ready.remove(name)
            try:
                restored = self._graph.restored(name)
            except InputError as error:
                self._placement.release(name)
                self._fail(name, str(error))
                continue
            if restored:
                self._placement.release(name)
                self._end(name, self.outcome.ran)
                self._say(f"{name}: restored from the cache of runs")
                continue
            self._say(f"{name}: on {worker.address}")
            self._started[name] = time.monotonic()
            self._running[name] = self._client.submit(
                work.run_command,
                name,
                self._graph.command(name, worker.cores),
                self._graph.root,
                str(self._logs / _log(name)),
                self._graph.environment(name) | _threads(need, worker.cores),
                workers=[worker.address],
                allow_other_workers=False,
                pure=False,
            )

    def _find_ready(self) -> None:
        """Move stages whose dependencies are there from waiting to ready; those that are unchanged end."""
        while found := [name for name, needs in self._waiting.items() if not needs]:
            for name in found:
                del self._waiting[name]
                if self._graph.changed(name):
                    self._ready.append(name)
                else:
                    self._end(name, self.outcome.unchanged)

    def _record(self, name: str, seconds: float) -> None:
        try:
            self._graph.record(name)
        except InputError as error:
            self._fail(name, str(error))
            return
        self._end(name, self.outcome.ran)
        self._say(f"{name}: {seconds:.1f} s")

    def _end(self, name: str, ended: list[str]) -> None:
        ended.append(name)
        for needs in self._waiting.values():
            needs.discard(name)

    def _fail(self, name: str, reason: str) -> None:
        """Note a failure, and leave out all that depends on it."""
        self.outcome.failed[name] = reason
        self._say(f"{name}: failed: {reason}")
        lost = {name}
        for other in self._graph.names:  # each after those that it depends on
            if other in self._waiting and self._waiting[other] & lost:
                lost.add(other)
                del self._waiting[other]
                self.outcome.skipped.append(other)

    def _lost(self, name: str) -> None:
        """Let a stage whose worker died run again."""
        self._placement.release(name)
        self._losses[name] = self._losses.get(name, 0) + (time.monotonic() - self._started[name] < LONG_SECONDS)
        if self._stopping:
            self._stopped(name)
        elif self._losses[name] >= MOST_LOSSES:
            self._fail(name, f"its worker died {MOST_LOSSES} times, see {LOGS / _log(name)}")
        else:
            self._ready.append(name)
            self._say(f"{name}: its worker died; it goes to another")

    def _stopped(self, name: str) -> None:
        self.outcome.stopped.append(name)
        self._say(f"{name}: stopped")


def _log(name: str) -> str:
    return f"{name}.log"


def _threads(need: Need, cores: int) -> dict[str, str]:
    """Return the variables that keep a stage to its cores; one that measures time has the machine to itself."""
    if need == "machine":
        return {}
    count = "1" if need == "core" else str(cores)
    # Numba's first call gives its own number of threads to OpenMP, which PyTorch shares.
    return {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "NUMBA_NUM_THREADS": count}


def wait_briefly(futures: list[Future]) -> None:
    """Wait until one of some tasks has ended, at most `GLANCE_SECONDS`."""
    with suppress(TimeoutError):
        wait(futures, timeout=GLANCE_SECONDS, return_when="FIRST_COMPLETED")
