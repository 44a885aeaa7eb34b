"""Images in the layout of the kernels for AVX-512: pixel by pixel, channels innermost, with a halo."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.kernels.channel import compiled as kernels
from pipeline.engine.kernels.channel.compiled import LANES, SLACK_PIXELS
from pipeline.engine.networks import Array
from pipeline.engine.quantization import Bfloat16, Quantization, Rounding
from pipeline.engine.steps import Load, Step

NO_VALUES = np.empty((0, 0, 0), np.float32)
NO_LEVELS = np.empty((0, 0, 0), np.uint8)

HUGE = np.float32(3e38)  # times this, all values above zero saturate, except the smallest subnormal numbers


def padded(count: int, whole: int = LANES) -> int:
    """Round `count` up to a multiple of `whole`."""
    return -(-count // whole) * whole


def stored(quantization: Quantization) -> tuple[np.float32, np.float32]:
    """Return the lowest and highest level that kernels round to; signs are stored as 0 and 1."""
    if quantization.signs:
        return np.float32(0), np.float32(1)
    return np.float32(quantization.lowest), np.float32(quantization.highest)


def inverse_steps(quantization: Quantization, channels: int) -> Array:
    """Return the factor that kernels multiply each channel by before rounding, padded with zeros to `channels`."""
    steps = np.asarray(HUGE if quantization.signs else quantization.inverse_step, np.float32)
    each = np.zeros(channels, np.float32)
    each[: steps.size if steps.ndim else channels] = steps
    return each


@dataclass(frozen=True)
class Activation:
    """A layer's output in the formats that its readers need, pixel by pixel.

    Attributes
    ----------
    channels, height, width : int
    values : float32, shape (rows, columns, at least C), zero around the image
        Empty if no layer reads them.
    halo : int
        The halo of `values`, pixels.
    levels : uint8 or int16, shape (rows, columns, at least C)
        Levels of `rounding` minus its lowest, or the bits of bfloat16; empty if no layer reads them.
    levels_halo : int
    rounding : Rounding, optional
    """

    channels: int
    height: int
    width: int
    values: Array
    halo: int
    levels: NDArray = field(default_factory=lambda: NO_LEVELS)
    levels_halo: int = 0
    rounding: Rounding | None = None

    @property
    def inside(self) -> Array:
        """The image itself in float32, shape (C, height, width)."""
        rows, columns = slice(self.halo, self.halo + self.height), slice(self.halo, self.halo + self.width)
        return self.values[rows, columns, : self.channels].transpose(2, 0, 1)


class Images:
    """The images of a step, in buffers of its workspace."""

    def __init__(self, step: Step) -> None:
        self.step = step

    def buffer(
        self, channels: int, height: int, width: int, halo: int, dtype: type = np.float32, kept: bool = False
    ) -> NDArray:
        """Return a buffer for an image of `channels` channels, with its halo.

        The halo stays as it is, since only images of this size are written into the buffer, at this position.
        """
        rows, columns = height + 2 * halo, width + 2 * halo
        slack = -(-SLACK_PIXELS * max(1, 64 // channels) // columns)
        purpose = "image", height, width, halo
        return self.step.buffer((rows + slack, columns, channels), dtype, purpose, kept)

    def levels_buffer(
        self, channels: int, height: int, width: int, halo: int, rounding: Rounding, kept: bool = False
    ) -> NDArray:
        """Return a buffer for a rounded image, with its halo at the level of zero, which depends on the layer."""
        if isinstance(rounding, Bfloat16):
            return self.buffer(padded(channels, 2), height, width, halo, np.int16, kept)
        levels = self.buffer(channels, height, width, halo, np.uint8, kept)
        self.step.call(kernels.fill_halo, levels, halo, height, width, int(-stored(rounding)[0]))
        return levels

    def from_planes(self, shape: tuple[int, ...], halo: int) -> tuple[Activation, Load]:
        """Return an activation for planes, float32 of this shape (C, H, W), and what copies them into it."""
        channels, height, width = shape
        values = self.buffer(channels if channels < LANES else padded(channels), height, width, halo)
        return Activation(channels, height, width, values, halo), lambda x: kernels.planes_to_image(x, values, halo)

    def with_values(self, x: Activation, halo: int) -> Activation:
        """Return the activation with a halo of at least `halo` pixels."""
        if x.halo >= halo:
            return x
        values = self.buffer(x.values.shape[2], x.height, x.width, halo)
        inside = values[halo : halo + x.height, halo : halo + x.width]
        self.step.call(np.copyto, inside, x.values[x.halo : x.halo + x.height, x.halo : x.halo + x.width])
        return replace(x, values=values, halo=halo)

    def with_levels(self, x: Activation, rounding: Rounding, halo: int) -> Activation:
        """Return the activation rounded, in a halo of at least `halo` pixels."""
        if x.rounding is rounding and x.levels_halo >= halo:
            return x
        levels = self.levels_buffer(x.values.shape[2], x.height, x.width, halo, rounding)
        if isinstance(rounding, Bfloat16):
            self.step.call(kernels.round_bfloat16, x.values, x.halo, levels, halo, x.height, x.width)
        else:
            steps, ends = inverse_steps(rounding, x.values.shape[2]), stored(rounding)
            self.step.call(kernels.round_levels, x.values, x.halo, steps, *ends, levels, halo, x.height, x.width)
        return replace(x, levels=levels, levels_halo=halo, rounding=rounding)

    def with_whole_vectors(self, x: Activation) -> Activation:
        """Return the activation with its channels padded to whole vectors."""
        if x.values.shape[2] % LANES == 0:
            return x
        values = self.buffer(padded(x.channels), x.height, x.width, x.halo)
        inside = slice(x.halo, x.halo + x.height), slice(x.halo, x.halo + x.width)
        self.step.call(np.copyto, values[(*inside, slice(x.channels))], x.inside.transpose(1, 2, 0))
        return replace(x, values=values)
