"""The number of threads of PyTorch and Numba, which share one setting."""

from __future__ import annotations

import numba
import torch


def set_threads(count: int) -> None:
    """Let PyTorch and Numba compute with this many threads; Numba with no more than it was started with.

    Numba's first call gives its own number of threads to OpenMP, which PyTorch shares. So Numba is started here, before
    PyTorch is told its number, and calls of Numba that follow leave it as it is.
    """
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]  # set at run time
    torch.set_num_threads(count)
