"""What the scheduler says of its workers."""

from __future__ import annotations

import dask
import pytest

pytest.importorskip("distributed", reason="needs the extra `cluster`")

from distributed import Client, LocalCluster

from pipeline.cluster.clusters import workers
from pipeline.errors import InputError


@pytest.fixture
def cluster():
    options = {"n_workers": 1, "threads_per_worker": 3, "processes": False, "dashboard_address": None}
    with LocalCluster(protocol="tcp", host="127.0.0.1", **options) as cluster:
        yield cluster


def test_workers_are_never_missing_because_the_client_asks_for_something_else(cluster):
    with (
        dask.config.set({"distributed.client.scheduler-info-interval": "1ms"}),
        Client(cluster, set_as_default=False) as client,
    ):
        for _ in range(500):
            (worker,) = workers(client)
            assert worker.cores == 3


def test_a_client_that_lost_its_scheduler_has_no_workers(cluster):
    client = Client(cluster, set_as_default=False)
    client.close()
    with pytest.raises(InputError, match="the scheduler was lost"):
        workers(client)
