"""Evaluating in several processes of one thread each, which does more than one process of as many threads."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor

import numba
import torch


def one_thread_each(count: int) -> ProcessPoolExecutor:
    """A pool of processes with one thread for PyTorch and the engine; they end with this process, however it ends."""
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _start)


def _start() -> None:
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End with the parent: one that is killed cannot tell its pool."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
