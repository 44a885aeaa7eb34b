"""Which workers get tasks of scoring, on a cluster inside this process."""

from dataclasses import dataclass

import pytest

pytest.importorskip("distributed", reason="needs the extra `cluster`")

from distributed import Client

from pipeline.cluster import scoring
from pipeline.cluster.clusters import workers
from pipeline.cluster.placement import Worker
from pipeline.engine.modes import modes_here


@dataclass(frozen=True)
class Task:
    method: str
    test_set: str = "Set5"

    def scores(self):
        return {"torch": [self.method]}


def test_modes_are_those_that_every_processor_can_run(monkeypatch):
    with Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        assert scoring.modes_on(client) == modes_here()
        lacking = {"tcp://a": modes_here(), "tcp://b": modes_here()[:-1]}
        monkeypatch.setattr(client, "run", lambda function: lacking)
        assert scoring.modes_on(client) == modes_here()[:-1]
        monkeypatch.setattr(client, "run", lambda function: {})  # workers are yet to come
        assert scoring.modes_on(client) == modes_here()


def test_a_worker_that_is_paused_gets_no_task(monkeypatch):
    asked = []

    def with_a_paused_one(client):
        asked.append(client)
        (one,) = workers(client)
        paused = Worker("tcp://127.0.0.1:1", "127.0.0.1", 1, takes_tasks=False)
        return [paused, one if len(asked) > 2 else Worker(one.address, one.host, 1, takes_tasks=False)]

    monkeypatch.setattr(scoring, "workers", with_a_paused_one)
    monkeypatch.setattr(scoring, "set_threads", lambda count: None)
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        tasks = [Task("a"), Task("b")]
        found = {task.method: scores for task, scores in scoring.on_cluster(client, tasks)}
    assert found == {"a": {"torch": ["a"]}, "b": {"torch": ["b"]}} and len(asked) > 2
