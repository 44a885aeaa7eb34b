"""Convolutions ready to run: filters packed for a kernel once, at load; positions for each image size at the call."""

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
from pipeline.engine.tiles import Tiling, tiling

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
        outputs, inputs, self.kernel, _ = layer.filters.shape
        self.inputs, self.epilogue = inputs, layer.epilogue
        blocks, products = -(-outputs // kernels.OUTPUTS), inputs * self.kernel**2
        steps = -(-products // kernels.TAPS)
        weights = np.zeros((blocks * kernels.OUTPUTS, steps * kernels.TAPS), np.float32)
        weights[:outputs, :products] = layer.filters.reshape(outputs, products)
        weights = weights.reshape(blocks, kernels.OUTPUTS, steps, kernels.TAPS)
        self.weights = np.ascontiguousarray(weights.transpose(0, 2, 3, 1))

    def __call__(
        self, x: Array, *, shuffle: int = 1, residual: Array | None = None, residual_scale: float = 1.0
    ) -> Array:
        tile = tiling(x.shape[1], x.shape[2], self.kernel, kernels.FLOAT32_RUN)
        offsets = np.zeros(self.weights.shape[1:3], np.uint64)
        starts = np.arange(self.inputs, dtype=np.uint64)[:, None] * np.uint64(tile.span)
        offsets.ravel()[: self.inputs * self.kernel**2] = (starts + tile.taps()).ravel()
        out = _output(x, self.epilogue, shuffle)
        then = _then(self.epilogue, shuffle, residual, residual_scale, out)
        kernels.convolve_float(x, self.weights, offsets, _sizes(tile), then, get_num_threads())
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
        self.kernel = layer.filters.shape[2]
        self.indices = table_indices(layer.filters)
        self.step = None if range_ is None else step_of(range_)
        self.epilogue = layer.epilogue if self.step is None else layer.epilogue.times(self.step)

    def __call__(
        self, x: Array, *, shuffle: int = 1, residual: Array | None = None, residual_scale: float = 1.0
    ) -> Array:
        run = kernels.FLOAT32_RUN if self.step is None else kernels.INT16_RUN
        tile = tiling(x.shape[1], x.shape[2], self.kernel, run)
        offsets = look_up_offsets(self.indices, tile.taps(), tile.span)
        out = _output(x, self.epilogue, shuffle)
        then = _then(self.epilogue, shuffle, residual, residual_scale, out)
        if self.step is None:
            kernels.convolve_binary(x, offsets, _sizes(tile), then, get_num_threads())
        else:
            kernels.convolve_binary_int8(x, self.step, offsets, _sizes(tile), then, get_num_threads())
        return out


def _sizes(tile: Tiling) -> kernels.Sizes:
    return tile.rows, tile.columns, tile.kernel, tile.pitch, tile.run, tile.span


def _output(x: Array, epilogue: Epilogue, shuffle: int) -> Array:
    channels = len(epilogue.scale) // shuffle**2
    return np.empty((channels, x.shape[1] * shuffle, x.shape[2] * shuffle), np.float32)


def _then(
    epilogue: Epilogue, shuffle: int, residual: NDArray | None, residual_scale: float, out: Array
) -> kernels.Then:
    rest = NO_RESIDUAL if residual is None else residual
    return epilogue.scale, epilogue.bias, epilogue.slope, rest, np.float32(residual_scale), shuffle, out
