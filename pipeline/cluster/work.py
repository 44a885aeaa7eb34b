"""What a worker does: run a stage's command in the shared folder. Imported by workers; light on purpose."""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.training.interruption import STOPPED

PR_SET_PDEATHSIG = 1

GLANCE_SECONDS = 0.5  # between two tries for a log's lock
OF_DASK = (
    "MALLOC_TRIM_THRESHOLD_",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)  # set for its workers

_running: dict[str, subprocess.Popen[bytes]] = {}
_stopped: set[str] = set()
_asked: set[subprocess.Popen[bytes]] = set()  # to end, once: a program may do more on the signal than note it


@dataclass(frozen=True)
class Ran:
    """How a command ran: its exit code, and when it started and ended, in seconds since the epoch."""

    exit_code: int
    start: float
    end: float


def run_command(name: str, command: str, folder: str, log: str, environment: Mapping[str, str]) -> Ran:
    """Run a stage's command, with its output in a log; it dies with the worker.

    Parameters
    ----------
    name : str
        Of the stage.
    command : str
        A program with its arguments.
    folder : str
        Where it runs; all workers share it.
    log : str
        The file of its output. Beside it lies a lock, so that a command that outlived its coordinator ends before it
        is run again.
    environment : mapping
        Variables beside those of the worker; without those that Dask sets for the tasks in its own process.
    """
    kept = {name: value for name, value in os.environ.items() if name not in OF_DASK}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # the worker's own python
    with _lock(name, f"{log}.lock") as acquired, Path(log).open("ab") as output:
        start = time.time()
        if not acquired:
            return Ran(STOPPED, start, start)
        output.truncate(0)
        process = subprocess.Popen(
            shlex.split(command),
            cwd=folder,
            env={**kept, "PATH": path, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,
        )
        _running[name] = process
        try:
            return Ran(process.wait(), start, time.time())
        finally:
            del _running[name]
            _asked.discard(process)


def stop(names: Collection[str]) -> None:
    """Ask commands of this worker to save what they have, and to end."""
    _stopped.update(names)
    for name, process in list(_running.items()):
        if name in names and process not in _asked:
            _asked.add(process)
            process.terminate()


def stop_all() -> list[str]:
    """Ask all commands of this worker to save what they have, and to end; return those that still run."""
    names = list(_running)
    stop(names)
    return names


@contextmanager
def _lock(name: str, path: str) -> Iterator[bool]:
    """Hold the lock of a command's log; yield False if it was stopped while it waited."""
    _stopped.discard(name)
    lock = FileLock(path)
    while name not in _stopped:
        with suppress(Timeout), lock.acquire(timeout=GLANCE_SECONDS):
            yield True
            return
    yield False


def _die_with_parent() -> None:
    """Have the system kill this process when the thread that started it ends, as when its worker is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
