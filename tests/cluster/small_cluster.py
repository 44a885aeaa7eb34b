"""A Dask cluster of processes on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="needs the extra `cluster`")

from distributed import Client

from tests.conftest import ROOT
from tests.small_repository import ENVIRONMENT


class Cluster:
    """A scheduler and named worker processes, which run in a repository."""

    def __init__(self, folder):
        self.folder, self.workers = folder, {}
        file = folder / "scheduler.json"
        file.unlink(missing_ok=True)  # of another cluster, in a folder that was copied
        self.scheduler = self._start("scheduler", "--scheduler-file", file, "--port", "0", "--no-dashboard")
        self.address = self._address_in(file)

    def add(self, name, threads=1):
        options = ("--no-nanny", "--nthreads", threads, "--name", name)
        self.workers[name] = self._start("worker", self.address, *options)

    def close(self):
        for process in (*self.workers.values(), self.scheduler):
            process.kill()
            process.wait()

    def name_of(self, address):
        with Client(self.address, set_as_default=False) as client:
            return client.scheduler_info()["workers"][address]["name"]

    def _address_in(self, file):
        """Wait for the scheduler's file; the scheduler writes it in place, so that it may be there but unfinished."""
        while self.scheduler.poll() is None:
            try:
                return json.loads(file.read_text())["address"]
            except (FileNotFoundError, json.JSONDecodeError):
                time.sleep(0.05)
        raise RuntimeError(f"the scheduler ended with exit code {self.scheduler.returncode}")

    def _start(self, kind, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--host", "127.0.0.1", *map(str, arguments)]
        return subprocess.Popen(command, cwd=self.folder, env=_environment(self.folder), stderr=subprocess.DEVNULL)


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    """Start a command of `pipeline.cluster`, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cluster", *arguments],
        cwd=folder,
        env=_environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _environment(folder: Path) -> dict[str, str]:
    """A copy of the repository has its own code."""
    store = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    sooner = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s"}  # that a scheduler is lost is known after this time
    return ENVIRONMENT | store | sooner | {"PYTHONPATH": str(folder if (folder / "pipeline").exists() else ROOT)}
