"""Buffers for activations, reused instead of being allocated for every layer."""

from __future__ import annotations

import math
import sys
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64


def _allocate(shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    size = math.prod(shape) * dtype.itemsize
    buffer = np.zeros(size + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    return buffer[start : start + size].view(dtype).reshape(shape)


def _references(arrays: list[NDArray], index: int) -> tuple[int, int]:
    """Count the references to an array, and to the memory that its views share."""
    return sys.getrefcount(arrays[index]), sys.getrefcount(arrays[index].base)


# `_references` of an array that only its list refers to; the counts differ between versions of Python.
_IDLE = _references([_allocate((1,), np.dtype(np.float32))], 0)


def aligned(array: NDArray) -> NDArray:
    """Copy an array in C order, aligned to 64 bytes as vector loads require."""
    copy = _allocate(array.shape, array.dtype)
    copy[:] = array
    return copy


class Workspace:
    """Buffers by shape and purpose; a buffer without other references is reused, with its content.

    Fresh memory costs more than a layer's arithmetic on it, since the system clears each page at its first use.
    """

    def __init__(self) -> None:
        self._arrays: dict[Hashable, list[NDArray]] = {}

    def array(self, shape: tuple[int, ...], dtype: type, purpose: Hashable = None) -> NDArray:
        """Return a buffer: zeros at first, later with the content last written to a buffer of the same purpose.

        It is aligned to 64 bytes, as vector loads require.
        """
        kept = self._arrays.setdefault((shape, dtype, purpose), [])
        for index in range(len(kept)):
            if _references(kept, index) == _IDLE:
                return kept[index]
        kept.append(_allocate(shape, np.dtype(dtype)))
        return kept[-1]

    def clear(self) -> None:
        """Drop all buffers."""
        self._arrays.clear()
