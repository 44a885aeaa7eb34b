"""Scoring the published networks on a cluster: each worker runs one task at a time, on all of its cores."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import chdir

from distributed import Client, Future, KilledWorker, get_worker
from distributed.client import CancelledError

from pipeline.cluster.clusters import workers
from pipeline.cluster.coordinator import GLANCE_SECONDS, MOST_LOSSES, RESULT_SECONDS, wait_briefly
from pipeline.engine.modes import modes_here
from pipeline.errors import InputError
from pipeline.records import Score
from pipeline.threads import set_threads
from pipeline.zoo.scores import Task

Scores = dict[str, list[Score]]


def modes_on(client: Client) -> tuple[str, ...]:
    """Return the engine's modes that this machine and all workers that are there now can run."""
    on_workers = client.run(modes_here).values()
    return tuple(mode for mode in modes_here() if all(mode in modes for modes in on_workers))


def on_cluster(client: Client, tasks: Sequence[Task]) -> Iterator[tuple[Task, Scores]]:
    """Run tasks on the workers, which share the current folder, and yield each with its scores as it ends.

    The task of a worker that dies goes to another. Workers may come at any time. A task is given to a worker that is
    free, not to Dask's scheduler with a resource of which each worker has one: the scheduler does not look at waiting
    tasks again when a worker that has come declares its resource, so that they would wait for ever.

    Raises
    ------
    InputError
        If a task fails, its workers die repeatedly, or the scheduler is lost.
    """
    waiting, running, losses = list(tasks), dict[Future, tuple[Task, str]](), Counter[str]()
    warned = False
    while waiting or running:
        present = {worker.address: worker.takes_tasks for worker in workers(client)}
        for future, (task, address) in list(running.items()):
            if address not in present:
                future.cancel(force=True)
                del running[future]
                _lost(task, waiting, losses)
        if not (present or warned):
            print("waiting for workers", file=sys.stderr)
            warned = True
        busy = {address for _, address in running.values()}
        free = [address for address, takes_tasks in present.items() if takes_tasks and address not in busy]
        for address in free[: len(waiting)]:
            task = waiting.pop(0)
            future = client.submit(_scores, task, os.getcwd(), pure=False, workers=[address], allow_other_workers=False)
            running[future] = (task, address)
        if running:
            wait_briefly(list(running))
        else:
            time.sleep(GLANCE_SECONDS)
        for future in [future for future in running if future.done()]:
            task, _ = running.pop(future)
            scores = _result(future)
            if scores is None:
                _lost(task, waiting, losses)
            else:
                yield task, scores


def _result(future: Future) -> Scores | None:
    """Return what a task that has ended returns; None if its worker died."""
    try:
        scores: Scores = future.result(timeout=RESULT_SECONDS)
        return scores
    except (TimeoutError, CancelledError, KilledWorker):
        future.cancel(force=True)
        return None
    except ModuleNotFoundError as error:
        raise InputError(f"cluster: a worker lacks the pipeline ({error}); start it in this folder") from error
    except (OSError, ImportError) as error:
        if future.status != "error":  # not the task's, but of a scheduler that is lost
            raise
        raise InputError(f"cluster: {type(error).__name__}: {' '.join(str(error).split())}") from error


def _lost(task: Task, waiting: list[Task], losses: Counter[str]) -> None:
    """Let a task whose worker died run again."""
    name = f"{task.method} on {task.test_set}"
    losses[name] += 1
    if losses[name] >= MOST_LOSSES:
        raise InputError(f"cluster: {name}: its worker died {MOST_LOSSES} times")
    waiting.insert(0, task)


def _scores(task: Task, folder: str) -> Scores:
    set_threads(get_worker().state.nthreads)
    with chdir(folder):
        return task.scores()
