"""Convolutions by the compiled kernels for any processor: filters arranged at load, images padded as needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import get_num_threads
from numpy.typing import NDArray

from pipeline.engine.kernels.pixel import compiled as kernels
from pipeline.engine.kernels.pixel.tables import look_up_offsets, table_indices
from pipeline.engine.layers import Layer
from pipeline.engine.networks import Array
from pipeline.engine.output_formats import OutputFormat
from pipeline.engine.quantization import Quantization, quantize, with_steps
from pipeline.engine.workspace import Workspace

NO_VALUES = np.empty((0, 0, 0), np.float32)
NO_LEVELS = np.empty((0, 0, 0), np.int16)


@dataclass(frozen=True)
class Activation:
    """A layer's output in the formats that its readers need.

    Attributes
    ----------
    height, width : int
    values : float32, shape (C, height, width)
        Empty if no layer reads them.
    levels : int16
        Levels in whole tiles with a halo (`kernels.pad_quantized`), for the layer that reads them; empty for none.
    """

    height: int
    width: int
    values: Array
    levels: NDArray[np.int16]

    @property
    def inside(self) -> Array:
        """The image itself in float32, shape (C, height, width)."""
        return self.values

    @classmethod
    def of(cls, x: Array | Activation) -> Activation:
        """Wrap an array as an activation."""
        return x if isinstance(x, Activation) else cls(x.shape[1], x.shape[2], x, NO_LEVELS)


class Convolution:
    """A layer's convolution with its epilogue.

    Parameters
    ----------
    layer : Layer
    quantization : Quantization, optional
        Quantization of the layer's input, if it computes with integers.
    output_format : OutputFormat
    workspace : Workspace
        Buffers, shared with the other layers.
    """

    def __init__(
        self, layer: Layer, quantization: Quantization | None, output_format: OutputFormat, workspace: Workspace
    ) -> None:
        self.quantization, self.output_format, self.workspace = quantization, output_format, workspace
        self.outputs, self.inputs, self.size, _ = layer.filters.shape
        self.binary = layer.binary
        filters, self.epilogue = layer.filters, layer.epilogue
        if quantization is not None:
            filters, steps = with_steps(filters, quantization)
            self.epilogue = layer.epilogue.times(steps)
        if self.binary:
            self.offsets = look_up_offsets(table_indices(filters), self.size)
            return
        blocks, taps = -(-self.outputs // kernels.FLOAT_OUTPUTS), self.inputs * self.size**2
        weights = np.zeros((blocks * kernels.FLOAT_OUTPUTS, taps), np.float32)
        weights[: self.outputs] = filters.reshape(self.outputs, taps)
        weights = weights.reshape(blocks, kernels.FLOAT_OUTPUTS, taps)
        self.weights = np.ascontiguousarray(weights.transpose(0, 2, 1))

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
        values, levels, halo, rounded = NO_VALUES, NO_LEVELS, 0, self.output_format.quantization
        # An output that is shuffled, or becomes signs, or has a step per channel, is rounded by its reader.
        direct = rounded is not None and shuffle == 1 and not rounded.signs and np.ndim(rounded.step) == 0
        if self.output_format.planes or self.output_format.halo is not None or not direct:
            shape = (self.outputs // shuffle**2, height * shuffle, width * shuffle)
            values = self.workspace.array(shape, np.float32)
        if direct:
            halo = self.output_format.levels_halo
            levels = self._levels_buffer(self.outputs, height, width, 2 * halo + 1)
        inverse_step, lowest, highest = _numbers(rounded if direct else None)
        epilogue = kernels.EpilogueArguments(
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
            lowest=lowest,
            highest=highest,
        )
        self._run(x, epilogue)
        return values if self.output_format.planes else Activation(height * shuffle, width * shuffle, values, levels)

    def _run(self, x: Activation, epilogue: kernels.EpilogueArguments) -> None:
        """Convolve and run the epilogue."""
        threads = get_num_threads()
        if not self.binary:
            padded = self._padded(x, kernels.FLOAT_ROWS)
            channel, row, column = np.indices((self.inputs, self.size, self.size))
            offsets = (channel * padded.strides[0] + row * padded.strides[1] + column * padded.strides[2]).ravel()
            kernels.convolve_float(padded, self.weights, offsets, epilogue, threads)
        elif self.quantization is None:
            kernels.convolve_binary(self._padded(x, kernels.TABLE_ROWS), self.offsets, self.size, epilogue, threads)
        else:
            levels = x.levels
            if not levels.size:
                levels = self._levels_buffer(self.inputs, x.height, x.width, self.size)
                self._round(x, self.size // 2, levels)
            kernels.convolve_binary_levels(levels, self.offsets, self.size, epilogue, threads)

    def _round(self, x: Activation, halo: int, levels: NDArray[np.int16]) -> None:
        assert self.quantization is not None
        if self.quantization.signs:
            inside = slice(halo, halo + x.height), slice(halo, halo + x.width)
            levels[(slice(self.inputs), *inside)] = quantize(x.values, self.quantization)
        else:
            kernels.pad_quantized(x.values, *_numbers(self.quantization), halo, levels)

    def _padded(self, x: Activation, rows: int) -> NDArray[np.float32]:
        """Return the values with a halo; for a float layer that computes with integers, its levels as float32."""
        values, halo = x.values, self.size // 2
        if self.quantization is not None and x.levels.size:
            levels = x.levels[: self.inputs, halo : halo + x.height, halo : halo + x.width]
            values = levels.astype(np.float32)
        elif self.quantization is not None:
            values = quantize(values, self.quantization).astype(np.float32)
        padded = self._padded_buffer(self.inputs, x.height, x.width, self.size, rows, kernels.FLOAT_LANES, np.float32)
        kernels.pad(values, halo, padded)
        return padded

    def _padded_buffer(
        self, channels: int, height: int, width: int, size: int, rows: int, lanes: int, dtype: type
    ) -> NDArray:
        """Return a buffer for an image in whole tiles of rows × lanes pixels and whole groups of channels, with the
        halo for filters of `size`.

        Its padding is zero, since only images of this size are written into it, at this position.
        """
        down, across = -(-height // rows) * rows, -(-width // lanes) * lanes
        groups = -(-channels // kernels.CHANNELS)
        shape = (groups * kernels.CHANNELS, down + size - 1, across + size - 1)
        return self.workspace.array(shape, dtype, purpose=("padded", channels, height, width, size))

    def _levels_buffer(self, channels: int, height: int, width: int, size: int) -> NDArray[np.int16]:
        """Return a buffer for an image in levels, padded for table look-up."""
        rows, lanes = kernels.TABLE_ROWS, kernels.INT16_LANES
        return self._padded_buffer(channels, height, width, size, rows, lanes, np.int16)


def _numbers(quantization: Quantization | None) -> tuple[np.float32, np.float32, np.float32]:
    """Return the inverse step, lowest and highest level; zeros for None."""
    if quantization is None:
        return np.float32(0), np.float32(0), np.float32(0)
    return np.float32(quantization.inverse_step), np.float32(quantization.lowest), np.float32(quantization.highest)
