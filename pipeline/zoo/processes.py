"""Evaluation in several single-threaded processes: higher throughput than one process with as many threads."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor

import numba
import torch


def one_thread_each(count: int) -> ProcessPoolExecutor:
    """Make a pool of processes, each with one thread for PyTorch and the engine, that end with this process."""
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _start)


def _start() -> None:
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Exit when the parent does: a killed parent cannot shut down its pool."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
