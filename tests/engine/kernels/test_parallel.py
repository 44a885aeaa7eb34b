"""Calling a compiled function on every worker."""

from typing import NamedTuple

import numba
import numpy as np
import pytest
from numba import njit

from pipeline.engine.kernels.parallel import call_on_workers


class Numbers(NamedTuple):
    """A tuple in the tuple of arguments, as the epilogue's."""

    factor: int
    added: np.ndarray


@njit
def _multiply(worker, x, numbers, y):
    scratch = np.full(3, numbers.factor * x[worker])  # each worker allocates its own
    y[worker] += scratch[worker % 3] + numbers.added[worker]


@njit
def multiply(workers, x, numbers, y):
    call_on_workers(_multiply, workers, (x, numbers, y))


@njit
def _allocate(worker, sizes):
    scratch = np.empty(sizes[worker], np.uint8)
    sizes[worker] = scratch.size


@njit
def allocate(sizes):
    call_on_workers(_allocate, len(sizes), (sizes,))


def test_memory_that_a_worker_does_not_get_is_an_error():
    allocate(np.ones(5, np.int64))
    for worker in range(5):
        sizes = np.ones(5, np.int64)
        sizes[worker] = 2**60
        with pytest.raises(MemoryError, match="in a kernel"):
            allocate(sizes)


@pytest.mark.parametrize("workers", [0, 1, 2, 5, 1000])
@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_each_worker_is_called_once_with_the_arguments(workers, kind):
    x, y = np.arange(1000, dtype=kind), np.ones(1000, kind)
    for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
        numba.set_num_threads(threads)
        multiply(workers, x, Numbers(7, x), y)
    expected = np.ones(1000, kind)
    expected[:workers] += numba.config.NUMBA_NUM_THREADS * 8 * x[:workers]
    assert np.array_equal(y, expected)
