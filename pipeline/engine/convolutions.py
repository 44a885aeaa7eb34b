"""Convolutions ready to run: filters packed for a kernel once, at load; the image padded at the call."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numba import get_num_threads
from numpy.typing import NDArray

from pipeline.engine import kernels
from pipeline.engine.epilogue import Epilogue
from pipeline.engine.layers import Layer
from pipeline.engine.networks import Array
from pipeline.engine.reference import step_of
from pipeline.engine.tables import look_up_offsets, table_indices

NO_RESIDUAL = np.empty((0, 0, 0), np.float32)


class Convolution(Protocol):
    """A layer's convolution with its epilogue; see `pipeline.engine.networks.Ops.conv`."""

    def __call__(
        self, x: Array, *, shuffle: int = 1, residual: Array | None = None, residual_scale: float = 1.0
    ) -> Array:
        """Run on x, float32 of shape (I, H, W), C-contiguous."""
        ...


class FloatConvolution:
    """Float filters, float32 activations."""

    def __init__(self, layer: Layer) -> None:
        outputs, self.inputs, self.size, _ = layer.filters.shape
        self.epilogue = layer.epilogue
        blocks, taps = -(-outputs // kernels.FLOAT_OUTPUTS), self.inputs * self.size**2
        weights = np.zeros((blocks * kernels.FLOAT_OUTPUTS, taps), np.float32)
        weights[:outputs] = layer.filters.reshape(outputs, taps)
        weights = weights.reshape(blocks, kernels.FLOAT_OUTPUTS, taps)
        self.weights = np.ascontiguousarray(weights.transpose(0, 2, 1))

    def __call__(
        self, x: Array, *, shuffle: int = 1, residual: Array | None = None, residual_scale: float = 1.0
    ) -> Array:
        padded = _room(x, self.inputs, self.size, kernels.FLOAT_ROWS, kernels.FLOAT_LANES, np.float32)
        kernels.pad(x, self.size // 2, padded)
        channel, row, column = np.indices((self.inputs, self.size, self.size))
        offsets = (channel * padded.strides[0] + row * padded.strides[1] + column * padded.strides[2]).ravel()
        then, out = _then(x, self.epilogue, shuffle, residual, residual_scale)
        kernels.convolve_float(padded, self.weights, offsets, then, get_num_threads())
        return out


class TableConvolution:
    """Binary filters by the table method.

    Parameters
    ----------
    layer : Layer
    range_ : float, optional
        Round activations to int8, saturating at ±range_. Otherwise they stay float32.
    """

    def __init__(self, layer: Layer, range_: float | None = None) -> None:
        self.size = layer.filters.shape[2]
        self.offsets = look_up_offsets(table_indices(layer.filters), self.size)
        self.step = None if range_ is None else step_of(range_)
        self.epilogue = layer.epilogue if self.step is None else layer.epilogue.times(self.step)

    def __call__(
        self, x: Array, *, shuffle: int = 1, residual: Array | None = None, residual_scale: float = 1.0
    ) -> Array:
        channels, halo = len(self.offsets) * kernels.CHANNELS, self.size // 2
        then, out = _then(x, self.epilogue, shuffle, residual, residual_scale)
        if self.step is None:
            padded = _room(x, channels, self.size, kernels.TABLE_ROWS, kernels.FLOAT_LANES, np.float32)
            kernels.pad(x, halo, padded)
            kernels.convolve_binary(padded, self.offsets, self.size, then, get_num_threads())
        else:
            padded = _room(x, channels, self.size, kernels.TABLE_ROWS, kernels.INT16_LANES, np.int16)
            kernels.pad_quantized(x, self.step, halo, padded)
            kernels.convolve_binary_int8(padded, self.offsets, self.size, then, get_num_threads())
        return out


def _room(x: Array, channels: int, size: int, rows: int, lanes: int, dtype: type) -> NDArray:
    """An array for the image in whole tiles of rows × lanes pixels, and the halo that filters of `size` read."""
    height, width = (
        -(-length // step) * step + size - 1 for length, step in zip(x.shape[1:], (rows, lanes), strict=True)
    )
    return np.empty((channels, height, width), dtype)


def _then(
    x: Array, epilogue: Epilogue, shuffle: int, residual: NDArray | None, residual_scale: float
) -> tuple[kernels.Then, Array]:
    """What the kernels do with the sums, and the array that they write."""
    channels = len(epilogue.scale) // shuffle**2
    out = np.empty((channels, x.shape[1] * shuffle, x.shape[2] * shuffle), np.float32)
    rest = NO_RESIDUAL if residual is None else residual
    return (epilogue.scale, epilogue.bias, epilogue.slope, rest, np.float32(residual_scale), shuffle, out), out
