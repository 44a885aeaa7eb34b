"""Convolutions ready to run: filters packed for a kernel once, at load; the image padded where it comes unpadded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import get_num_threads
from numpy.typing import NDArray

from pipeline.engine import kernels
from pipeline.engine.layers import Layer
from pipeline.engine.networks import Array
from pipeline.engine.reference import step_of
from pipeline.engine.tables import look_up_offsets, table_indices

NO_VALUES = np.empty((0, 0, 0), np.float32)
NO_LEVELS = np.empty((0, 0, 0), np.int16)


@dataclass(frozen=True)
class Activation:
    """A layer's output as its readers want it.

    Attributes
    ----------
    height, width : int
    values : float32, shape (C, height, width)
        Empty where nothing reads them.
    levels : int16
        Rounded to int8, in whole tiles with a halo (`kernels.pad_quantized`), for the binary layer that reads them;
        empty where there is none.
    """

    height: int
    width: int
    values: Array
    levels: NDArray[np.int16]

    @classmethod
    def of(cls, x: Array | Activation) -> Activation:
        """An array as an activation."""
        return x if isinstance(x, Activation) else cls(x.shape[1], x.shape[2], x, NO_LEVELS)


@dataclass(frozen=True)
class Reader:
    """The binary layer that reads an output as int8: the size of its filters, and its step."""

    size: int
    step: np.float32


class Convolution:
    """A layer's convolution with its epilogue.

    Parameters
    ----------
    layer : Layer
    reader : Reader, optional
        For which the output is rounded to int8 on the way.
    """

    def __init__(self, layer: Layer, reader: Reader | None = None) -> None:
        self.outputs, self.inputs, self.size, _ = layer.filters.shape
        self.epilogue = layer.epilogue
        self.reader = reader
        self.writes_values = layer.read_as_float or reader is None

    def __call__(
        self,
        x: Array | Activation,
        *,
        shuffle: int = 1,
        residual: Array | Activation | None = None,
        residual_scale: float = 1.0,
    ) -> Array | Activation:
        """Run on x, float32 of shape (I, H, W), C-contiguous; see `pipeline.engine.networks.Ops.conv`."""
        x = Activation.of(x)
        height, width = x.height, x.width
        values, levels, halo, inverse_step = NO_VALUES, NO_LEVELS, 0, np.float32(0)
        if self.writes_values:
            values = np.empty((self.outputs // shuffle**2, height * shuffle, width * shuffle), np.float32)
        if self.reader is not None:
            halo, inverse_step = self.reader.size // 2, np.float32(1) / self.reader.step
            levels = int16_room(self.outputs, height, width, self.reader.size)
            kernels.clear_around(levels, self.outputs, halo, height, width)
        then = kernels.Then(
            scale=self.epilogue.scale,
            bias=self.epilogue.bias,
            slope=self.epilogue.slope,
            residual=NO_VALUES if residual is None else Activation.of(residual).values,
            residual_scale=np.float32(residual_scale),
            shuffle=shuffle,
            height=height,
            width=width,
            out=values,
            quantized=levels,
            halo=halo,
            inverse_step=inverse_step,
        )
        self.run(x, then)
        return values if self.reader is None else Activation(height * shuffle, width * shuffle, values, levels)

    def run(self, x: Activation, then: kernels.Then) -> None:
        """Convolve, and write what `then` says."""
        raise NotImplementedError


class FloatConvolution(Convolution):
    """Float filters, float32 activations."""

    def __init__(self, layer: Layer, reader: Reader | None = None) -> None:
        super().__init__(layer, reader)
        blocks, taps = -(-self.outputs // kernels.FLOAT_OUTPUTS), self.inputs * self.size**2
        weights = np.zeros((blocks * kernels.FLOAT_OUTPUTS, taps), np.float32)
        weights[: self.outputs] = layer.filters.reshape(self.outputs, taps)
        weights = weights.reshape(blocks, kernels.FLOAT_OUTPUTS, taps)
        self.weights = np.ascontiguousarray(weights.transpose(0, 2, 1))

    def run(self, x: Activation, then: kernels.Then) -> None:
        padded = _room(self.inputs, x.height, x.width, self.size, kernels.FLOAT_ROWS, kernels.FLOAT_LANES, np.float32)
        kernels.pad(x.values, self.size // 2, padded)
        channel, row, column = np.indices((self.inputs, self.size, self.size))
        offsets = (channel * padded.strides[0] + row * padded.strides[1] + column * padded.strides[2]).ravel()
        kernels.convolve_float(padded, self.weights, offsets, then, get_num_threads())


class TableConvolution(Convolution):
    """Binary filters by the table method, float32 activations."""

    def __init__(self, layer: Layer, reader: Reader | None = None) -> None:
        super().__init__(layer, reader)
        self.offsets = look_up_offsets(table_indices(layer.filters), self.size)
        self.channels = len(self.offsets) * kernels.CHANNELS  # up to a whole group

    def run(self, x: Activation, then: kernels.Then) -> None:
        padded = _room(self.channels, x.height, x.width, self.size, kernels.TABLE_ROWS, kernels.FLOAT_LANES, np.float32)
        kernels.pad(x.values, self.size // 2, padded)
        kernels.convolve_binary(padded, self.offsets, self.size, then, get_num_threads())


class Int8TableConvolution(TableConvolution):
    """Binary filters by the table method, activations rounded to int8.

    Parameters
    ----------
    layer : Layer
    range_ : float
        Activations saturate at ±range_.
    reader : Reader, optional
    """

    def __init__(self, layer: Layer, range_: float, reader: Reader | None = None) -> None:
        super().__init__(layer, reader)
        self.step = step_of(range_)
        self.epilogue = layer.epilogue.times(self.step)

    def run(self, x: Activation, then: kernels.Then) -> None:
        levels = x.levels
        if not levels.size:
            levels = int16_room(self.inputs, x.height, x.width, self.size)
            kernels.pad_quantized(x.values, np.float32(1) / self.step, self.size // 2, levels)
        kernels.convolve_binary_int8(levels, self.offsets, self.size, then, get_num_threads())


def int16_room(channels: int, height: int, width: int, size: int) -> NDArray[np.int16]:
    """An array for the int8 activations of `channels`, up to a whole group of them; see `_room`."""
    groups = -(-channels // kernels.CHANNELS)
    rows, lanes = kernels.TABLE_ROWS, kernels.INT16_LANES
    return _room(groups * kernels.CHANNELS, height, width, size, rows, lanes, np.int16)


def _room(channels: int, height: int, width: int, size: int, rows: int, lanes: int, dtype: type) -> NDArray:
    """An array for an image in whole tiles of rows × lanes pixels, and the halo that filters of `size` read."""
    rows, columns = -(-height // rows) * rows, -(-width // lanes) * lanes
    return np.empty((channels, rows + size - 1, columns + size - 1), dtype)
