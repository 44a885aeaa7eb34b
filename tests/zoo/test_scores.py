"""Scoring in several processes."""

import os
import signal
import time
from dataclasses import dataclass

import pytest

from pipeline.errors import InputError
from pipeline.zoo.scores import Task, in_parallel


@dataclass(frozen=True)
class Killed(Task):
    def scores(self):
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Long(Task):
    def scores(self):
        time.sleep(0 if self.scale == 2 else 600)
        return {}


def test_a_process_that_is_killed_is_one_error():
    with pytest.raises(InputError, match="memory: a process that scored a network was killed"):
        list(in_parallel([Killed("Set5", 2)]))


def test_what_still_runs_ends_with_the_caller(monkeypatch):
    monkeypatch.setattr("pipeline.zoo.scores.available_cores", lambda: 2)
    running = in_parallel([Long("Set5", 2), Long("Set5", 3), Long("Set5", 4)])
    assert next(running) == (Long("Set5", 2), {})
    running.close()  # does not wait for minutes
