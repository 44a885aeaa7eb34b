"""Filters arranged at load for `pipeline.engine.kernels.pixel.compiled`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def transformed(filters: NDArray) -> NDArray:
    """Transform 3×3 filters for `kernels.convolve_winograd`: GgGᵀ; of integers with 2G, so that all are integers.

    Parameters
    ----------
    filters : int8 or float32, shape (O, I, 3, 3)

    Returns
    -------
    int16 or float32, shape (16, O, I)
    """
    matrix = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])
    values = np.einsum("ai,ocij,bj->aboc", matrix, filters.astype(np.float64), matrix)
    values = values.reshape(16, *filters.shape[:2])
    return values.astype(np.int16) if filters.dtype == np.int8 else (values / 4).astype(np.float32)


def paired(filters: NDArray) -> NDArray[np.int32]:
    """Put the weights of two input channels into one int32, for `kernels.convolve`.

    Parameters
    ----------
    filters : int8 or int16, shape (O, I, taps)

    Returns
    -------
    int32, shape (O, ceil(I / 2), taps)
        The first channel's weight is in the lower half.
    """
    outputs, inputs, taps = filters.shape
    pairs = np.zeros((outputs, -(-inputs // 2), taps, 2), "<i2")
    pairs[..., 0] = filters[:, ::2]
    pairs[:, : inputs // 2, :, 1] = filters[:, 1::2]
    return pairs.view("<i4")[..., 0]


def in_blocks(weights: NDArray, size: int) -> NDArray:
    """Arrange weights, shape (O, taps), in blocks of `size` outputs, ``(blocks, taps, size)``, padded with zeros."""
    outputs, taps = weights.shape
    blocks = -(-outputs // size)
    padded = np.zeros((blocks * size, taps), weights.dtype)
    padded[:outputs] = weights
    return np.ascontiguousarray(padded.reshape(blocks, size, taps).transpose(0, 2, 1))
