"""Connecting to a cluster: one that runs, one on this machine, or one of SLURM jobs."""

from __future__ import annotations

import logging
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from distributed import Client, LocalCluster, WorkerPlugin
from distributed import Worker as DaskWorker
from distributed.client import CancelledError

from pipeline.cluster.placement import Worker
from pipeline.errors import InputError
from pipeline.provenance import available_cores
from pipeline.reading import read_yaml
from pipeline.training.interruption import SIGNALS

CONNECT_SECONDS = 10
UNREACHABLE = (OSError, ValueError, TypeError, RuntimeError, ImportError)  # the last three: of tls:// and ucx://


class WithoutInterruption(WorkerPlugin):
    """Has a worker pass over signals, which reach it too if it is on this machine: the coordinator ends its commands.

    Without a worker, its commands would be killed before they have saved what they have.
    """

    name = "without-interruption"

    def setup(self, worker: DaskWorker) -> None:
        for number in SIGNALS:
            signal.signal(number, _pass_over)  # not SIG_IGN, which the commands would inherit


def _pass_over(number: int, frame: FrameType | None) -> None:
    pass


@contextmanager
def client(scheduler: str | None, local: int | None, slurm: Path | None) -> Iterator[Client]:
    """Connect to a cluster, and close what this process started of it.

    Parameters
    ----------
    scheduler : str, optional
        The address of a scheduler that runs, such as ``tcp://10.0.0.1:8786``.
    local : int, optional
        The number of workers to start on this machine; each gets an equal part of its cores.
    slurm : Path, optional
        Arguments of `dask_jobqueue.SLURMCluster`, and ``jobs``, in YAML.

    Raises
    ------
    InputError
        Unless one of them is given, or if the scheduler cannot be reached or is lost.
    """
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # of a lost scheduler, this says all in one line
    with _connection(scheduler, local, slurm) as connection:
        try:
            yield connection
        except CancelledError as error:
            raise lost() from error
        except OSError as error:
            if connection.status == "running":
                raise
            raise lost() from error


def lost() -> InputError:
    """Return the error of a scheduler that is gone."""
    return InputError("cluster: the scheduler was lost; restart it, and run the same command again to resume")


@contextmanager
def _connection(scheduler: str | None, local: int | None, slurm: Path | None) -> Iterator[Client]:
    if sum(choice is not None for choice in (scheduler, local, slurm)) != 1:
        raise InputError("cluster: give one of --scheduler, --local and --slurm")
    if scheduler is not None:
        try:
            connection = Client(scheduler, timeout=CONNECT_SECONDS)
        except UNREACHABLE as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"--scheduler: {scheduler}: cannot be reached ({reason:.200}); start one with `dask scheduler`"
            ) from error
        with connection:
            yield connection
    elif local is not None:
        cores = max(1, available_cores() // local)
        with (
            LocalCluster(
                n_workers=local,
                threads_per_worker=cores,
                host="127.0.0.1",  # loopback alone
                dashboard_address="127.0.0.1:0",
                memory_limit=0,  # a worker at its limit would be paused, and its task wait for ever
            ) as cluster,
            Client(cluster) as connection,
        ):
            connection.register_plugin(WithoutInterruption())
            yield connection
    else:
        assert slurm is not None
        cluster, jobs = slurm_cluster(slurm)
        with cluster, Client(cluster) as connection:
            if shutil.which("sbatch") is None:
                raise InputError("--slurm: there is no sbatch on this machine; run this where SLURM takes jobs")
            cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)  # also submits one for each that a time limit ends
            yield connection


def slurm_cluster(path: Path) -> tuple[Any, int]:
    """Return a cluster of SLURM jobs, none of them submitted yet, and the number of jobs that it asks for.

    Raises
    ------
    InputError
        If the file cannot be read or has an argument that `SLURMCluster` does not take.
    """
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise InputError("--slurm: needs dask-jobqueue; run: pip install dask-jobqueue") from error
    try:
        arguments = read_yaml(path, "see conf/cluster/slurm.yaml")
        jobs = arguments.pop("jobs")
        free_port = {"scheduler_options": {"dashboard_address": ":0"}}  # the usual one may be another user's
        if int(jobs) < 1:
            raise InputError(f"{path}: jobs: {jobs}; choose at least 1")
        return SLURMCluster(**free_port | arguments), int(jobs)
    except KeyError as error:
        raise InputError(f"{path}: {error.args[0]}: missing; give the number of SLURM jobs") from error
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise InputError(f"{path}: {reason}; see conf/cluster/slurm.yaml") from error


def workers(connection: Client) -> list[Worker]:
    """Return the workers that are there now.

    Raises
    ------
    InputError
        If the scheduler is lost.
    """
    if connection.scheduler is None:
        raise lost()
    try:  # not `Client.scheduler_info`: the client's own refreshes, without workers, overwrite what it returns
        identity = connection.sync(connection.scheduler.identity, n_workers=-1)
    except OSError as error:
        raise lost() from error
    return [
        Worker(
            address,
            info["host"],
            info["nthreads"],
            info.get("resources", {}).get("GPU", 0.0),
            info.get("status", "running") == "running",
        )
        for address, info in identity["workers"].items()
    ]
