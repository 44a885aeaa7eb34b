"""Evaluation in several single-threaded processes: higher throughput than one process with as many threads."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor

from pipeline.threads import set_threads


def one_thread_each(count: int) -> ProcessPoolExecutor:
    """Make a pool of processes, each with one thread for PyTorch and the engine, that end with this process.

    They are forked from a process that has imported this module once, with what takes seconds, and started no thread.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", __name__])
    return ProcessPoolExecutor(count, context, _start)


def _start() -> None:
    set_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Exit when the parent does: a killed parent cannot shut down its pool."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
