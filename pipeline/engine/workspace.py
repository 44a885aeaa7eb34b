"""Memory for activations, used again instead of being taken from the system for every layer."""

from __future__ import annotations

import math
import sys
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64


def _room(shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    size = math.prod(shape) * dtype.itemsize
    room = np.zeros(size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + size].view(dtype).reshape(shape)


def _references(arrays: list[NDArray], index: int) -> tuple[int, int]:
    """To an array, and to the memory that all its views refer to."""
    return sys.getrefcount(arrays[index]), sys.getrefcount(arrays[index].base)


# What `_references` gives for an array that only its list refers to; it differs between versions of Python.
_IDLE = _references([_room((1,), np.dtype(np.float32))], 0)


def aligned(array: NDArray) -> NDArray:
    """The same in C order, beginning at a multiple of 64 bytes, as vectors must."""
    copy = _room(array.shape, array.dtype)
    copy[:] = array
    return copy


class Workspace:
    """Arrays by shape and purpose; one that nothing else refers to any more is given again, as it was left.

    Fresh memory costs more than a layer's arithmetic on it: the system clears each page at its first use.
    """

    def __init__(self) -> None:
        self._arrays: dict[Hashable, list[NDArray]] = {}

    def array(self, shape: tuple[int, ...], dtype: type, purpose: Hashable = None) -> NDArray:
        """Give an array: zeros at first, later with what was last written to an array of the same purpose.

        It begins at a multiple of 64 bytes, as vectors must.
        """
        kept = self._arrays.setdefault((shape, dtype, purpose), [])
        for index in range(len(kept)):
            if _references(kept, index) == _IDLE:
                return kept[index]
        kept.append(_room(shape, np.dtype(dtype)))
        return kept[-1]

    def clear(self) -> None:
        """Forget all arrays."""
        self._arrays.clear()
