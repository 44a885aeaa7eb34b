"""Binary filters as indices into tables of signed sums in memory, for `pipeline.engine.kernels.pixel.compiled`.

A binary filter only adds or subtracts activations. Four channels of one pixel have 16 signed sums, and four bits of a
filter are the index of its sum at a tap. The table depends on neither the filter nor the tap, so that one table serves
all filters at all taps: 16 additions to build it, then one addition instead of four multiply-adds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.kernels.pixel.compiled import CHANNELS, SUMS, TABLE_ROWS
from pipeline.engine.kernels.pixel.compiled.look_ups import ROW_BYTES, SHIFTS, groups_at_once, table_bytes


def table_indices(filters: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Turn filters into table indices.

    Parameters
    ----------
    filters : bool, shape (O, I, k, k)
        True for +1. Channels beyond I, up to a multiple of 4, read zero activations, so that their bits do not matter.

    Returns
    -------
    uint8 in 0..15, shape (ceil(I / 4), O, k²)
        Bit i of an index is set where the filter is +1 for channel i of the group. Taps are in row-major order.
    """
    outputs, inputs, k, _ = filters.shape
    groups = -(-inputs // CHANNELS)
    bits = np.zeros((outputs, groups * CHANNELS, k * k), np.uint8)
    bits[:, :inputs] = filters.reshape(outputs, inputs, k * k)
    weights = 1 << np.arange(CHANNELS, dtype=np.uint8)
    indices = (bits.reshape(outputs, groups, CHANNELS, k * k) * weights[:, None]).sum(axis=2, dtype=np.uint8)
    return np.ascontiguousarray(indices.transpose(1, 0, 2))


def look_up_offsets(indices: NDArray[np.uint8], k: int, value_bytes: int) -> NDArray[np.uint32]:
    """Turn table indices into byte offsets in the tables that are built at once.

    A table is an array of cache lines, (copies, 16 sums, TABLE_ROWS + k - 1 rows); a copy serves a few horizontal
    shifts of the image. See `pipeline.engine.kernels.pixel.compiled.look_ups`.

    Parameters
    ----------
    indices : as `table_indices` gives them
    k : int
        Height and width of the filters.
    value_bytes : int
        2 for tables of int16, 4 of float32.

    Returns
    -------
    uint32, shape (indices.size,)
        One after another, those of the groups that are built at once: O × (groups · k²).
    """
    down, right = np.divmod(np.arange(k * k), k)
    copy, shift = np.divmod(right, SHIFTS)
    lines = (copy * SUMS + indices.astype(np.int64)) * (TABLE_ROWS + k - 1) + down
    offsets = lines * ROW_BYTES + shift * value_bytes
    at_once = groups_at_once(k, value_bytes)
    offsets += table_bytes(k) * (np.arange(len(indices)) % at_once)[:, None, None]
    parts = [offsets[first : first + at_once].transpose(1, 0, 2).ravel() for first in range(0, len(indices), at_once)]
    return np.concatenate(parts).astype(np.uint32)
