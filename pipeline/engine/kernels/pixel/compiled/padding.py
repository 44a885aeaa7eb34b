"""Copies of images into padded ones, also rounded."""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg,var-annotated"

from __future__ import annotations

import numpy as np
from numba import prange
from numpy.typing import NDArray

from pipeline.engine.kernels.parallel import compiled
from pipeline.engine.kernels.pixel.compiled.epilogue import Array


@compiled(parallel=True)
def pad(x: Array, halo: int, padded: Array) -> None:
    """Copy an image into a padded one, `halo` pixels from its top and left; the padding is not written.

    Parameters
    ----------
    x : float32, shape (C, H, W)
    halo : int
    padded : float32, shape (at least C, at least H + 2 halo, at least W + 2 halo)
    """
    channels, height, width = x.shape
    for channel in prange(channels):
        for y in range(height):
            for i in range(width):
                padded[channel, halo + y, halo + i] = x[channel, y, i]


@compiled(parallel=True)
def pad_quantized(
    x: Array, inverse_step: np.float32, lowest: np.float32, highest: np.float32, halo: int, padded: NDArray[np.int16]
) -> None:
    """Copy an image, shape (C, H, W), into a padded one: ``clip(rint(x * inverse_step), lowest, highest)``."""
    channels, height, width = x.shape
    for channel in prange(channels):
        for y in range(height):
            for i in range(width):
                value = min(max(np.rint(x[channel, y, i] * inverse_step), lowest), highest)
                padded[channel, halo + y, halo + i] = np.int16(value)


@compiled(parallel=True)
def pad_pairs(
    x: Array, inverse_steps: Array, lowest: np.float32, highest: np.float32, halo: int, padded: NDArray[np.int16]
) -> None:
    """Copy an image into a padded one as levels, with a step per channel, two channels side by side at each pixel.

    Parameters
    ----------
    x : float32, shape (C, H, W)
    inverse_steps : float32, shape (C,)
    lowest, highest : float32
        The range that levels are clipped to.
    halo : int
    padded : int16, shape (ceil(C / 2), at least H + 2 halo, at least 2 (W + 2 halo))
        The padding, and the second channel of the last pair of an odd number, are not written.
    """
    channels, height, width = x.shape
    for pair in prange(padded.shape[0]):
        for y in range(height):
            for channel in range(2 * pair, min(2 * pair + 2, channels)):
                step, place = inverse_steps[channel], 2 * halo + channel % 2
                for i in range(width):
                    value = min(max(np.rint(x[channel, y, i] * step), lowest), highest)
                    padded[pair, halo + y, place + 2 * i] = np.int16(value)
