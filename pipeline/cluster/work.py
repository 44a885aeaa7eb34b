"""What a worker does: run a stage's command in the shared folder. Imported by workers; light on purpose."""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

PR_SET_PDEATHSIG = 1

_running: dict[str, subprocess.Popen[bytes]] = {}


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
        The file of its output. Beside it lies a lock, so that a command that outlived its cluster ends before it is
        run again.
    environment : mapping
        Variables beside those of the worker.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # the worker's own python
    with FileLock(f"{log}.lock"), Path(log).open("wb") as output:
        start = time.time()
        process = subprocess.Popen(
            shlex.split(command),
            cwd=folder,
            env={**os.environ, "PATH": path, **environment},
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


def stop() -> None:
    """Ask the commands of this worker to save what they have, and to end."""
    for process in list(_running.values()):
        process.terminate()


def _die_with_parent() -> None:
    """Have the system kill this process when the thread that started it ends, as when its worker is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
