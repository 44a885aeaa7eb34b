"""Buffers for activations, reused instead of being allocated for every layer."""

from __future__ import annotations

import math
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64


def _allocate(shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    size = math.prod(shape) * dtype.itemsize
    buffer = np.zeros(size + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    return buffer[start : start + size].view(dtype).reshape(shape)


def aligned(array: NDArray) -> NDArray:
    """Copy an array in C order, aligned to 64 bytes as vector loads require."""
    copy = _allocate(array.shape, array.dtype)
    copy[:] = array
    return copy


class Workspace:
    """Buffers by shape and purpose; a buffer that is given back is reused, with its content.

    Fresh memory costs more than a layer's arithmetic on it, since the system clears each page at its first use.
    """

    def __init__(self) -> None:
        self._free: dict[Hashable, list[NDArray]] = {}
        self._taken: dict[int, tuple[Hashable, NDArray]] = {}  # by identity

    def take(self, shape: tuple[int, ...], dtype: type, purpose: Hashable = None) -> NDArray:
        """Return a buffer: zeros at first, later with the content last written to a buffer of the same purpose.

        It is aligned to 64 bytes, as vector loads require.
        """
        kind = shape, dtype, purpose
        free = self._free.get(kind)
        array = free.pop() if free else _allocate(shape, np.dtype(dtype))
        self._taken[id(array)] = kind, array
        return array

    def give_back(self, array: NDArray) -> None:
        """Let a buffer that was taken be taken again."""
        kind, _ = self._taken.pop(id(array))
        self._free.setdefault(kind, []).append(array)

    def clear(self) -> None:
        """Drop all buffers."""
        self._free.clear()
        self._taken.clear()

    @property
    def nbytes(self) -> int:
        """The size of all buffers, in bytes."""
        taken = (array for _, array in self._taken.values())
        return sum(array.nbytes for arrays in (*self._free.values(), taken) for array in arrays)
