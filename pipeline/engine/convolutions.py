"""Convolutions ready to run: filters packed for a kernel once, at load; the image padded where it comes unpadded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numba import get_num_threads
from numpy.typing import NDArray

from pipeline.engine import kernels
from pipeline.engine.layers import Layer
from pipeline.engine.networks import Array
from pipeline.engine.reference import step_of
from pipeline.engine.tables import look_up_offsets, table_indices
from pipeline.engine.workspace import Workspace

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


class Convolution(ABC):
    """A layer's convolution with its epilogue.

    Parameters
    ----------
    layer : Layer
    reader : Reader, optional
        For which the output is rounded to int8 on the way.
    workspace : Workspace, optional
        Where arrays come from, shared with other layers.
    """

    def __init__(self, layer: Layer, reader: Reader | None = None, workspace: Workspace | None = None) -> None:
        self.workspace = workspace or Workspace()
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
            shape = (self.outputs // shuffle**2, height * shuffle, width * shuffle)
            values = self.workspace.array(shape, np.float32)
        if self.reader is not None:
            halo, inverse_step = self.reader.size // 2, np.float32(1) / self.reader.step
            levels = self.levels_room(self.outputs, height, width, self.reader.size)
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

    @abstractmethod
    def run(self, x: Activation, then: kernels.Then) -> None:
        """Convolve, and write what `then` says."""

    def padded_room(
        self, channels: int, height: int, width: int, size: int, rows: int, lanes: int, dtype: type
    ) -> NDArray:
        """An array for an image in whole tiles of rows × lanes pixels and whole groups of channels, with the halo that
        filters of `size` read.

        It is zero around the image and in further channels: only such images, at this place, are written into it.
        """
        down, across = -(-height // rows) * rows, -(-width // lanes) * lanes
        groups = -(-channels // kernels.CHANNELS)
        shape = (groups * kernels.CHANNELS, down + size - 1, across + size - 1)
        return self.workspace.array(shape, dtype, purpose=("padded", channels, height, width, size))

    def levels_room(self, channels: int, height: int, width: int, size: int) -> NDArray[np.int16]:
        """Likewise, for int8 activations."""
        rows, lanes = kernels.TABLE_ROWS, kernels.INT16_LANES
        return self.padded_room(channels, height, width, size, rows, lanes, np.int16)


class FloatConvolution(Convolution):
    """Float filters, float32 activations."""

    def __init__(self, layer: Layer, reader: Reader | None = None, workspace: Workspace | None = None) -> None:
        super().__init__(layer, reader, workspace)
        blocks, taps = -(-self.outputs // kernels.FLOAT_OUTPUTS), self.inputs * self.size**2
        weights = np.zeros((blocks * kernels.FLOAT_OUTPUTS, taps), np.float32)
        weights[: self.outputs] = layer.filters.reshape(self.outputs, taps)
        weights = weights.reshape(blocks, kernels.FLOAT_OUTPUTS, taps)
        self.weights = np.ascontiguousarray(weights.transpose(0, 2, 1))

    def run(self, x: Activation, then: kernels.Then) -> None:
        padded = self.padded_room(
            self.inputs, x.height, x.width, self.size, kernels.FLOAT_ROWS, kernels.FLOAT_LANES, np.float32
        )
        kernels.pad(x.values, self.size // 2, padded)
        channel, row, column = np.indices((self.inputs, self.size, self.size))
        offsets = (channel * padded.strides[0] + row * padded.strides[1] + column * padded.strides[2]).ravel()
        kernels.convolve_float(padded, self.weights, offsets, then, get_num_threads())


class TableConvolution(Convolution):
    """Binary filters by the table method, float32 activations."""

    def __init__(self, layer: Layer, reader: Reader | None = None, workspace: Workspace | None = None) -> None:
        super().__init__(layer, reader, workspace)
        self.offsets = look_up_offsets(table_indices(layer.filters), self.size)

    def run(self, x: Activation, then: kernels.Then) -> None:
        padded = self.padded_room(
            self.inputs, x.height, x.width, self.size, kernels.TABLE_ROWS, kernels.FLOAT_LANES, np.float32
        )
        kernels.pad(x.values, self.size // 2, padded)
        kernels.convolve_binary(padded, self.offsets, self.size, then, get_num_threads())


class Int8TableConvolution(TableConvolution):
    """Binary filters by the table method, activations rounded to int8.

    Parameters
    ----------
    layer : Layer
    range_ : float
        Activations saturate at ±range_.
    reader, workspace
        As for `Convolution`.
    """

    def __init__(
        self, layer: Layer, range_: float, reader: Reader | None = None, workspace: Workspace | None = None
    ) -> None:
        super().__init__(layer, reader, workspace)
        self.step = step_of(range_)
        self.epilogue = layer.epilogue.times(self.step)

    def run(self, x: Activation, then: kernels.Then) -> None:
        levels = x.levels
        if not levels.size:
            levels = self.levels_room(self.inputs, x.height, x.width, self.size)
            kernels.pad_quantized(x.values, np.float32(1) / self.step, self.size // 2, levels)
        kernels.convolve_binary_int8(levels, self.offsets, self.size, then, get_num_threads())
