"""Scoring the published networks on a cluster: each worker runs one task at a time, on all of its cores."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, suppress

from distributed import Client, KilledWorker, Worker, WorkerPlugin, as_completed, get_worker

from pipeline.errors import InputError
from pipeline.records import Score
from pipeline.threads import set_threads
from pipeline.zoo.scores import Task

SLOT = "scoring"


class OneAtATime(WorkerPlugin):
    """Gives a worker one slot for scoring: threads of one process share the cores of PyTorch and Numba anyhow."""

    name = SLOT

    async def setup(self, worker: Worker) -> None:
        await worker.set_resources(**{SLOT: 1})


def on_cluster(client: Client, tasks: Sequence[Task]) -> Iterator[tuple[Task, dict[str, list[Score]]]]:
    """Run tasks on the workers, which share the current folder, and yield each with its scores as it ends.

    The task of a worker that dies goes to another.
    """
    if not client.nthreads():
        print("waiting for workers", file=sys.stderr)
    try:
        client.register_plugin(OneAtATime())
        run = {client.submit(_scores, task, os.getcwd(), pure=False, resources={SLOT: 1}): task for task in tasks}
        for future in as_completed(run):
            if isinstance(error := future.exception() if future.status == "error" else None, OSError | ImportError):
                raise InputError(f"cluster: {type(error).__name__}: {' '.join(str(error).split())}") from error
            yield run[future], future.result()
    except ImportError as error:
        raise InputError(f"cluster: a worker lacks the pipeline ({error}); start it in this folder") from error
    except KilledWorker as error:
        raise InputError(f"cluster: {' '.join(str(error).split())}") from error
    finally:
        with suppress(Exception):  # such as a scheduler that is lost
            client.unregister_worker_plugin(SLOT)


def _scores(task: Task, folder: str) -> dict[str, list[Score]]:
    set_threads(get_worker().state.nthreads)
    with chdir(folder):
        return task.scores()
