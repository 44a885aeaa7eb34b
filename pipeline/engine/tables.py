"""Binary filters as indices into tables of signed sums (the "method of four Russians").

A binary filter only ever adds or subtracts activations. Of four channels at one pixel there are 16 signed sums, and
four bits of a filter say which one it wants at a tap. The table depends on neither the filter nor the tap, so that one
serves all filters at all taps: 16 additions to build, then one addition where there were four multiply-adds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.kernels import CHANNELS, LOOK_UPS, SUMS

ZERO_ROW = SUMS  # a table's row of zeros after its sums, for look-ups that only fill up a pass


def table_indices(filters: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Turn filters into table indices.

    Parameters
    ----------
    filters : bool, shape (O, I, k, k)
        True for +1. Channels beyond I, up to a multiple of 4, read zero activations: their bits do not matter.

    Returns
    -------
    uint8 in 0..15, shape (ceil(I / 4), passes, O, LOOK_UPS)
        Bit i of an index is set where the filter is +1 for channel i of the group. The taps are in row-major order;
        `ZERO_ROW` fills up the last pass.
    """
    outputs, inputs, k, _ = filters.shape
    groups, passes = -(-inputs // CHANNELS), -(-k * k // LOOK_UPS)
    bits = np.zeros((outputs, groups * CHANNELS, k * k), np.uint8)
    bits[:, :inputs] = filters.reshape(outputs, inputs, k * k)
    weights = 1 << np.arange(CHANNELS, dtype=np.uint8)
    indices = np.full((outputs, groups, passes * LOOK_UPS), ZERO_ROW, np.uint8)
    indices[:, :, : k * k] = (bits.reshape(outputs, groups, CHANNELS, k * k) * weights[:, None]).sum(axis=2)
    return np.ascontiguousarray(indices.reshape(outputs, groups, passes, LOOK_UPS).transpose(1, 2, 0, 3))


def look_up_offsets(indices: NDArray[np.uint8], taps: NDArray[np.uint64], span: int) -> NDArray[np.uint64]:
    """Turn table indices into positions in a table of rows of `span` values.

    Parameters
    ----------
    indices : as `table_indices` gives them
    taps : uint64, shape (k·k,)
        The position of each tap's pixel relative to that of its output.
    span : int

    Returns
    -------
    uint64, shape of `indices`
    """
    filled = np.zeros(indices.shape[1] * LOOK_UPS, np.uint64)
    filled[: len(taps)] = taps
    return indices * np.uint64(span) + filled.reshape(-1, 1, LOOK_UPS)
