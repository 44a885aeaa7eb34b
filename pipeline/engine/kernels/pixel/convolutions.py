"""Convolutions by the compiled kernels for any processor: filters arranged at load, images padded as needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import get_num_threads
from numpy.typing import NDArray

from pipeline.engine.kernels.pixel import compiled as kernels
from pipeline.engine.kernels.pixel.filters import in_blocks, paired, transformed
from pipeline.engine.kernels.pixel.tables import look_up_offsets, table_indices
from pipeline.engine.layers import Layer
from pipeline.engine.networks import Array
from pipeline.engine.output_formats import OutputFormat
from pipeline.engine.quantization import Bfloat16, Quantization, quantize, with_steps
from pipeline.engine.steps import Load, Step
from pipeline.engine.workspace import Workspace

NO_VALUES = np.empty((0, 0, 0), np.float32)
NO_LEVELS = np.empty((0, 0, 0), np.int16)

# Channels in and out from which Winograd's algorithm, whose transforms cost as much for few, is faster; and channels in
# up to which its sums of int8 products are sure to fit int32.
FEWEST_CHANNELS, MOST_CHANNELS = 12, 1800


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
    levels_halo : int
        The halo of `levels`, pixels.
    rounding : Quantization, optional
        That of `levels`; None if there are none.
    """

    height: int
    width: int
    values: Array
    levels: NDArray[np.int16]
    levels_halo: int = 0
    rounding: Quantization | None = None

    @property
    def inside(self) -> Array:
        """The image itself in float32, shape (C, height, width)."""
        return self.values


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
        self.rounding, self.output_format, self.workspace = quantization, output_format, workspace
        self.outputs, self.inputs, self.size, _ = layer.filters.shape
        self.binary = layer.binary
        filters, self.epilogue = layer.filters, layer.epilogue
        if quantization is not None:
            filters, steps = with_steps(filters, quantization)
            self.epilogue = layer.epilogue.times(steps)
        suits = min(self.inputs, self.outputs) >= FEWEST_CHANNELS and self.inputs <= MOST_CHANNELS
        self.winograd = not self.binary and self.size == 3 and suits
        if self.binary:
            value_bytes = 4 if quantization is None else 2
            self.offsets = look_up_offsets(table_indices(filters), self.size, value_bytes)
            self.at_once = kernels.groups_at_once(self.size, value_bytes)
            return
        if quantization is not None:
            steps = np.broadcast_to(np.float32(quantization.inverse_step), self.inputs)
            self.inverse_steps = np.ascontiguousarray(steps, np.float32)
        if self.winograd:
            self.weights = np.stack([self._arranged(values[:, :, None]) for values in transformed(filters)])
        else:
            self.weights = self._arranged(filters.reshape(self.outputs, self.inputs, self.size**2))

    def __call__(
        self, x: Array | Activation, *, residual: Array | Activation | None = None, **arguments: Any
    ) -> Array | Activation:
        """Run once; the parameters are those of `prepare`."""
        return self.prepare(x, residual=residual, **arguments)(x, residual)

    def prepare(
        self,
        x: Array | Activation,
        *,
        shuffle: int = 1,
        residual: Array | Activation | None = None,
        residual_scale: float = 1.0,
    ) -> Step:
        """Prepare for planes, float32 of shape (C, H, W), or an activation; see `pipeline.engine.networks.Ops.conv`."""
        step = Step(self.workspace)
        if not isinstance(x, Activation):
            x, step.load = _from_planes(step, x.shape)
        if residual is not None and not isinstance(residual, Activation):
            residual, step.load_residual = _from_planes(step, residual.shape)
        height, width = x.height, x.width
        values, levels, halo, rounded = NO_VALUES, NO_LEVELS, 0, self.output_format.rounding
        assert not isinstance(rounded, Bfloat16)  # `Engine` refuses it
        # An output that is shuffled, or becomes signs, or has a step per channel, is rounded by its reader.
        direct = rounded is not None and shuffle == 1 and not rounded.signs and np.ndim(rounded.step) == 0
        if self.output_format.planes or self.output_format.halo is not None or not direct:
            shape = (self.outputs // shuffle**2, height * shuffle, width * shuffle)
            values = step.buffer(shape, np.float32, kept=True)
        if direct:
            halo = self.output_format.levels_halo
            levels = self._levels_buffer(step, self.outputs, height, width, 2 * halo + 1, kept=True)
        inverse_step, lowest, highest = _numbers(rounded if direct else None)
        epilogue = kernels.EpilogueArguments(
            scale=self.epilogue.scale,
            bias=self.epilogue.bias,
            slope=self.epilogue.slope,
            residual=NO_VALUES if residual is None else residual.values,
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
        self._convolve(step, x, epilogue)
        if self.output_format.planes:
            return step.finish(values)
        return step.finish(
            Activation(height * shuffle, width * shuffle, values, levels, halo, rounded if direct else None)
        )

    def _arranged(self, taps: NDArray) -> NDArray:
        """Arrange weights, shape (O, I, taps), as the kernels for float32 or for levels read them."""
        if self.rounding is None:
            return in_blocks(taps.reshape(self.outputs, -1), kernels.FLOAT_OUTPUTS)
        return in_blocks(paired(taps).reshape(self.outputs, -1), kernels.PAIR_OUTPUTS)

    def _convolve(self, step: Step, x: Activation, epilogue: kernels.EpilogueArguments) -> None:
        """Add the calls that convolve and run the epilogue."""
        threads = get_num_threads()
        if not self.binary and self.rounding is not None:
            pairs = self._pairs(step, x)
            if self.winograd:
                step.call(kernels.convolve_winograd, pairs, self.weights, epilogue, threads)
            else:
                step.call(kernels.convolve, pairs, self.weights, self._taps(pairs, 4), epilogue, threads)
        elif self.winograd:
            padded = self._padded(step, x, 2 * kernels.FLOAT_ROWS, 2 * kernels.FLOAT_LANES)
            step.call(kernels.convolve_winograd, padded, self.weights, epilogue, threads)
        elif not self.binary:
            padded = self._padded(step, x, kernels.FLOAT_ROWS)
            step.call(kernels.convolve, padded, self.weights, self._taps(padded, 4), epilogue, threads)
        elif self.rounding is None:
            padded = self._padded(step, x, kernels.TABLE_ROWS)
            step.call(kernels.convolve_binary, padded, self.offsets, self.size, self.at_once, epilogue, threads)
        else:
            levels = x.levels
            # Those rounded for another reader have other steps, and those with another halo lie elsewhere.
            if x.rounding is not self.rounding or x.levels_halo != self.size // 2:
                levels = self._levels_buffer(step, self.inputs, x.height, x.width, self.size)
                step.call(self._round, x, self.size // 2, levels)
            step.call(kernels.convolve_binary_levels, levels, self.offsets, self.size, self.at_once, epilogue, threads)

    def _round(self, x: Activation, halo: int, levels: NDArray[np.int16]) -> None:
        assert self.rounding is not None
        if self.rounding.signs:
            inside = slice(halo, halo + x.height), slice(halo, halo + x.width)
            levels[(slice(self.inputs), *inside)] = quantize(x.values, self.rounding)
        else:
            kernels.pad_quantized(x.values, *_numbers(self.rounding), halo, levels)

    def _taps(self, padded: NDArray, pixel_bytes: int) -> NDArray[np.int64]:
        """Return where each weight reads, in bytes from a tile's first pixel."""
        plane, row, column = np.indices((self.weights.shape[1] // self.size**2, self.size, self.size))
        return (plane * padded.strides[0] + row * padded.strides[1] + column * pixel_bytes).ravel()

    def _padded(self, step: Step, x: Activation, rows: int, lanes: int = kernels.FLOAT_LANES) -> NDArray[np.float32]:
        """Return the values with a halo."""
        padded = self._padded_buffer(step, self.inputs, x.height, x.width, self.size, rows, lanes, np.float32)
        step.call(kernels.pad, x.values, self.size // 2, padded)
        return padded

    def _pairs(self, step: Step, x: Activation) -> NDArray[np.int16]:
        """Return the levels with a halo, two channels side by side."""
        assert self.rounding is not None
        rows, lanes = ((2 if self.winograd else 1) * side for side in (kernels.FLOAT_ROWS, kernels.FLOAT_LANES))
        down, across = -(-x.height // rows) * rows, -(-x.width // lanes) * lanes
        shape = (-(-self.inputs // 2), down + self.size - 1, 2 * (across + self.size - 1))
        pairs = step.buffer(shape, np.int16, ("pairs", self.inputs, x.height, x.width, self.size))
        lowest, highest = np.float32(self.rounding.lowest), np.float32(self.rounding.highest)
        step.call(kernels.pad_pairs, x.values, self.inverse_steps, lowest, highest, self.size // 2, pairs)
        return pairs

    def _padded_buffer(
        self,
        step: Step,
        channels: int,
        height: int,
        width: int,
        size: int,
        rows: int,
        lanes: int,
        dtype: type,
        kept: bool = False,
    ) -> NDArray:
        """Return a buffer for an image in whole tiles of rows × lanes pixels and whole groups of channels, with the
        halo for filters of `size`.

        Its padding is zero, since only images of this size are written into it, at this position.
        """
        down, across = -(-height // rows) * rows, -(-width // lanes) * lanes
        groups = -(-channels // kernels.CHANNELS)
        shape = (groups * kernels.CHANNELS, down + size - 1, across + size - 1)
        return step.buffer(shape, dtype, ("padded", channels, height, width, size), kept)

    def _levels_buffer(
        self, step: Step, channels: int, height: int, width: int, size: int, kept: bool = False
    ) -> NDArray[np.int16]:
        """Return a buffer for an image in levels, padded for table look-up."""
        rows, lanes = kernels.TABLE_ROWS, kernels.INT16_LANES
        return self._padded_buffer(step, channels, height, width, size, rows, lanes, np.int16, kept)


def _from_planes(step: Step, shape: tuple[int, ...]) -> tuple[Activation, Load]:
    """Return an activation for planes, float32 of this shape (C, H, W), and what copies them into it."""
    values = step.buffer(shape, np.float32)
    return Activation(shape[1], shape[2], values, NO_LEVELS), lambda x: np.copyto(values, x)


def _numbers(quantization: Quantization | None) -> tuple[np.float32, np.float32, np.float32]:
    """Return the inverse step, lowest and highest level; zeros for None."""
    if quantization is None:
        return np.float32(0), np.float32(0), np.float32(0)
    return np.float32(quantization.inverse_step), np.float32(quantization.lowest), np.float32(quantization.highest)
