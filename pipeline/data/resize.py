"""MATLAB's bicubic `imresize`, which super-resolution benchmarks are defined by."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# Output rows per block: few enough to stay in the cache while the taps are summed.
BLOCK = 16

# Output rows that are computed at a time: they bound the memory.
BAND = 512

# Rounding errors can put a size or sum just below the integer (or half) that exact arithmetic gives.
FUZZ = 1e-9


def imresize(image: NDArray, scale: float) -> NDArray:
    """Resize an image as MATLAB's `imresize(image, scale)`: bicubic, with antialiasing for downscaling.

    Rows are resized first, then columns, as in MATLAB for equal scales. The image is mirrored at its edges.

    Parameters
    ----------
    image : (H, W) or (H, W, C) array of uint8, float32 or float64
        Any value range; at least one pixel.
    scale : float
        Output size over input size, for both axes.

    Returns
    -------
    (ceil(scale H), ceil(scale W)) or (..., C) array of the input's dtype
        Computed in float64. uint8 is rounded once at the end, halves up, and clamped to 0..255.

    Raises
    ------
    ValueError
        For another dtype or number of axes, an empty image, or a scale that is not positive.

    References
    ----------
    R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE Trans. ASSP 29(6), 1981,
    with a = -1/2. The antialiasing stretches the kernel by 1/scale.
    """
    if image.dtype not in (np.uint8, np.float32, np.float64):
        raise ValueError(f"imresize takes uint8, float32 or float64, not {image.dtype}")
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"imresize takes a non-empty HxW or HxWxC image, not one of shape {image.shape}")
    height, width = (output_length(length, scale) for length in image.shape[:2])
    resized = np.empty((height, width, *image.shape[2:]), dtype=image.dtype)
    for start in range(0, height, BAND):
        rows = slice(start, min(start + BAND, height))
        band = imresize_region(image, scale, rows, slice(0, width))
        resized[rows] = round_to_uint8(band) if image.dtype == np.uint8 else band
    return resized


def imresize_region(image: NDArray, scale: float, rows: slice, columns: slice) -> NDArray[np.float64]:
    """Return some rows and columns of `imresize`, to the bit those of the whole, in memory in proportion to them.

    Parameters
    ----------
    image : (H, W) or (H, W, C) array of numbers
    scale : float
    rows, columns : slice
        In pixels of the resized image; with a start and a stop.

    Returns
    -------
    (rows, columns) or (..., C) float64 array
        Not rounded.
    """
    (row_weights, row_indices), (column_weights, column_indices) = (
        [part[chosen] for part in resize_taps(length, scale)]
        for length, chosen in zip(image.shape, (rows, columns), strict=False)
    )
    top, left = row_indices.min(), column_indices.min()
    read = image[top : row_indices.max() + 1, left : column_indices.max() + 1]
    planes = read.reshape(*read.shape[:2], -1)
    resized = np.empty((len(row_weights), len(column_weights), planes.shape[2]))
    for channel in range(planes.shape[2]):
        plane = _resize_rows(planes[..., channel].astype(np.float64), row_weights, row_indices - top)
        resized[..., channel] = _resize_rows(plane.T, column_weights, column_indices - left).T
    return resized.reshape(*resized.shape[:2], *image.shape[2:])


def round_to_uint8(values: NDArray) -> NDArray[np.uint8]:
    """Round to the nearest integer in 0..255, halves up, as MATLAB's `uint8(values)`."""
    return np.clip(np.floor(values + (0.5 + FUZZ)), 0, 255).astype(np.uint8)


def output_length(length: int, scale: float) -> int:
    """Return the length of an axis of `length` after a resize; errors as for `resize_taps`."""
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"the scale must be positive, not {scale}")
    return math.ceil(scale * length - FUZZ)


def resize_taps(length: int, scale: float) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the taps of a 1-D bicubic resize: `output[i] = sum_k weights[i, k] * input[indices[i, k]]`.

    Parameters
    ----------
    length : int
        Number of input samples, at least 1.
    scale : float
        Output length over input length.

    Returns
    -------
    weights : (ceil(scale * length), taps) float64 array
        Every row sums to 1.
    indices : (ceil(scale * length), taps) integer array
        In 0..length-1; an index occurs twice in a row if the input is mirrored there.

    Raises
    ------
    ValueError
        For a scale that is not a positive, finite number.
    """
    centres = (np.arange(output_length(length, scale)) + 0.5) / scale - 0.5
    stretch = min(scale, 1.0)
    width = 4 / stretch
    first = np.floor(centres - width / 2).astype(np.intp)
    indices = first[:, None] + np.arange(math.ceil(width) + 2)
    weights = _cubic(stretch * (centres[:, None] - indices))
    used = weights.any(axis=0)
    weights, indices = weights[:, used], indices[:, used]
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    return weights, mirrored[indices % (2 * length)]


def resize_matrix(length: int, scale: float) -> NDArray[np.float64]:
    """Return the (ceil(scale * length), length) matrix of a 1-D bicubic resize.

    `resize_matrix(H, scale) @ plane @ resize_matrix(W, scale).T` equals `imresize(plane, scale)`.
    """
    weights, indices = resize_taps(length, scale)
    matrix = np.zeros((len(weights), length))
    np.add.at(matrix, (np.arange(len(weights))[:, None], indices), weights)
    return matrix


def _cubic(x: NDArray) -> NDArray:
    """Keys' cubic convolution kernel with a = -1/2; zero beyond |x| = 2."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _resize_rows(plane: NDArray, weights: NDArray, indices: NDArray) -> NDArray:
    """Resize the first axis of a (H, W) float64 plane: gather rows, tap by tap.

    Plain array arithmetic gives the same bits on every machine. Matrix products are no faster on an idle machine,
    and many times slower on a busy one, where the BLAS threads wait for each other.
    """
    plane = np.ascontiguousarray(plane)
    resized = np.zeros((len(weights), plane.shape[1]))
    for start in range(0, len(weights), BLOCK):
        block = slice(start, start + BLOCK)
        for weight, index in zip(weights[block].T, indices[block].T, strict=True):
            resized[block] += weight[:, None] * plane[index]
    return resized
