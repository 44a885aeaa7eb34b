"""Images as the compiled kernels for AVX-512 read them: pixel by pixel, channels innermost, room around them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.kernels.channel import compiled as kernels
from pipeline.engine.kernels.channel.compiled import LANES, SLACK_PIXELS
from pipeline.engine.networks import Array
from pipeline.engine.quantization import Quantization
from pipeline.engine.workspace import Workspace

NO_VALUES = np.empty((0, 0, 0), np.float32)
NO_LEVELS = np.empty((0, 0, 0), np.uint8)

HUGE = np.float32(3e38)  # times which all that is above zero saturates, but for the least subnormal numbers


def padded(count: int, whole: int = LANES) -> int:
    """`count`, filled up to whole vectors."""
    return -(-count // whole) * whole


def stored(quantization: Quantization) -> tuple[np.float32, np.float32]:
    """Lowest and highest level as kernels round to; signs are stored as 0 and 1."""
    if quantization.signs:
        return np.float32(0), np.float32(1)
    return np.float32(quantization.lowest), np.float32(quantization.highest)


def inverse_steps(quantization: Quantization, room: int) -> Array:
    """What kernels multiply each of `room` channels by before they round, zeros behind those that there are."""
    steps = np.asarray(HUGE if quantization.signs else quantization.inverse_step, np.float32)
    each = np.zeros(room, np.float32)
    each[: steps.size if steps.ndim else room] = steps
    return each


@dataclass(frozen=True)
class Activation:
    """A layer's output as its readers want it, pixel by pixel.

    Attributes
    ----------
    channels, height, width : int
    values : float32, shape (rows, columns, at least C), zero around the image
        Empty where nothing reads them.
    halo : int
        Pixels around the image in `values`.
    levels : uint8, shape (rows, columns, at least C)
        Levels of `quantization` less its lowest; empty where nothing reads them.
    levels_halo : int
    quantization : Quantization, optional
    """

    channels: int
    height: int
    width: int
    values: Array
    halo: int
    levels: NDArray[np.uint8] = field(default_factory=lambda: NO_LEVELS)
    levels_halo: int = 0
    quantization: Quantization | None = None

    @property
    def inside(self) -> Array:
        """The image itself in float32, shape (C, height, width)."""
        rows, columns = slice(self.halo, self.halo + self.height), slice(self.halo, self.halo + self.width)
        return self.values[rows, columns, : self.channels].transpose(2, 0, 1)


class Images:
    """Images in memory that is used again."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def room(self, channels: int, height: int, width: int, halo: int, dtype: type = np.float32) -> NDArray:
        """An image of `channels` channels.

        What lies around it stays as it is: only images of this size, at this place, are written into it.
        """
        rows, columns = height + 2 * halo, width + 2 * halo
        slack = -(-SLACK_PIXELS * max(1, 64 // channels) // columns)
        return self.workspace.array((rows + slack, columns, channels), dtype, ("image", height, width, halo))

    def levels_room(self, channels: int, height: int, width: int, halo: int, zero: int) -> NDArray[np.uint8]:
        """An image in levels, with the level that stands for zero around it, which is another for each layer."""
        levels = self.room(channels, height, width, halo, np.uint8)
        kernels.surround(levels, halo, height, width, zero)
        return levels

    def enter(self, x: Array, halo: int) -> Activation:
        """Planes, float32 of shape (C, H, W), as an image."""
        channels, height, width = x.shape
        values = self.room(channels if channels < LANES else padded(channels), height, width, halo)
        kernels.enter(x, values, halo)
        return Activation(channels, height, width, values, halo)

    def with_values(self, x: Activation, halo: int) -> Activation:
        """The same with at least `halo` pixels around."""
        if x.halo >= halo:
            return x
        values = self.room(x.values.shape[2], x.height, x.width, halo)
        inside = values[halo : halo + x.height, halo : halo + x.width]
        inside[:] = x.values[x.halo : x.halo + x.height, x.halo : x.halo + x.width]
        return replace(x, values=values, halo=halo)

    def with_levels(self, x: Activation, quantization: Quantization, halo: int) -> Activation:
        """The same rounded, with at least `halo` pixels around."""
        if x.quantization is quantization and x.levels_halo >= halo:
            return x
        lowest, highest = stored(quantization)
        steps = inverse_steps(quantization, x.values.shape[2])
        levels = self.levels_room(x.values.shape[2], x.height, x.width, halo, int(-lowest))
        kernels.round_levels(x.values, x.halo, steps, lowest, highest, levels, halo, x.height, x.width)
        return replace(x, levels=levels, levels_halo=halo, quantization=quantization)

    def with_whole_vectors(self, x: Activation) -> Activation:
        """The same with room for whole vectors of channels."""
        if x.values.shape[2] % LANES == 0:
            return x
        values = self.room(padded(x.channels), x.height, x.width, x.halo)
        inside = slice(x.halo, x.halo + x.height), slice(x.halo, x.halo + x.width)
        values[(*inside, slice(x.channels))] = x.inside.transpose(1, 2, 0)
        return replace(x, values=values)
