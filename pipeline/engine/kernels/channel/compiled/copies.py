"""Copies of images: between planes and pixels, rounded, and the fill of a halo."""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg,var-annotated"

from __future__ import annotations

import numpy as np
from numba import prange
from numpy.typing import NDArray

from pipeline.engine.kernels.channel.compiled.epilogue import Array
from pipeline.engine.kernels.parallel import compiled

# Spare pixels after every image: a block of pixels may extend beyond the end of the last row.
SLACK_PIXELS = 33


@compiled(parallel=True)
def planes_to_image(x: Array, image: Array, halo: int) -> None:
    """Copy planes, float32 of shape (C, H, W), into an image, float32 of shape (rows, columns, at least C)."""
    channels, height, width = x.shape
    for y in prange(height):
        for channel in range(channels):  # in this order, since distant planes would evict each other from the cache
            for i in range(width):
                image[halo + y, halo + i, channel] = x[channel, y, i]


@compiled(parallel=True)
def image_to_planes(image: Array, halo: int, planes: Array) -> None:
    """Copy an image, float32 of shape (rows, columns, at least C), into planes, float32 of shape (C, H, W)."""
    channels, height, width = planes.shape
    for y in prange(height):
        for channel in range(channels):
            for i in range(width):
                planes[channel, y, i] = image[halo + y, halo + i, channel]


@compiled
def fill_halo(image: NDArray[np.uint8], halo: int, height: int, width: int, value: int) -> None:
    """Fill the halo around height × width pixels of an image, shape (rows, columns, C), with a value."""
    for y in range(height + 2 * halo):
        outside = halo if halo <= y < halo + height else width + 2 * halo  # leading pixels that belong to the halo
        for x in range(outside):
            for channel in range(image.shape[2]):
                image[y, x, channel] = value
        for x in range(max(outside, halo + width), width + 2 * halo):
            for channel in range(image.shape[2]):
                image[y, x, channel] = value


@compiled(parallel=True)
def round_levels(
    image: Array, halo: int, inverse_steps: Array, lowest: np.float32, highest: np.float32,
    levels: NDArray[np.uint8], levels_halo: int, height: int, width: int,
) -> None:  # fmt: skip
    """Write ``clip(rint(x * inverse_steps), lowest, highest) - lowest`` of an image.

    Images have shape (rows, columns, C), with a halo around height × width pixels; `inverse_steps` has shape (C,).
    """
    channels = image.shape[2]
    for y in prange(height):
        for i in range(width):
            for channel in range(channels):
                value = np.rint(image[halo + y, halo + i, channel] * inverse_steps[channel])
                level = np.int32(min(max(value, lowest), highest) - lowest)
                levels[levels_halo + y, levels_halo + i, channel] = level


@compiled(parallel=True)
def round_bfloat16(
    image: Array, halo: int, rounded: NDArray[np.int16], rounded_halo: int, height: int, width: int
) -> None:
    """Write the bits of an image in bfloat16, halves to even; 0 for channels it lacks.

    Images have shape (rows, columns, at least C), with a halo around height × width pixels.
    """
    bits, channels = image.view(np.uint32), image.shape[2]
    for y in prange(height):
        for i in range(width):
            for channel in range(channels):
                value = bits[halo + y, halo + i, channel]
                value = (value + np.uint32(0x7FFF) + (value >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)
                rounded[rounded_halo + y, rounded_halo + i, channel] = value
            for channel in range(channels, rounded.shape[2]):
                rounded[rounded_halo + y, rounded_halo + i, channel] = 0
