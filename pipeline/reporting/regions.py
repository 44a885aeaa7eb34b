"""The region of an image to show: the square in which some quantity is largest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE = 320  # HR pixels, at most; cut to a multiple of the scale


@dataclass(frozen=True)
class Region:
    """A square of an HR image in pixels: `top`, `left` and `side` are multiples of the scale."""

    top: int
    left: int
    side: int

    def cut(self, image: NDArray) -> NDArray:
        """Return the region of an image."""
        return image[self.top : self.top + self.side, self.left : self.left + self.side]

    def share(self, height: int, width: int) -> tuple[float, float, float, float]:
        """Return left, top, width and height in percent of an image of that size."""
        return (
            100 * self.left / width,
            100 * self.top / height,
            100 * self.side / width,
            100 * self.side / height,
        )


def best_region(gain: NDArray, scale: int, side: int = SIDE) -> Region:
    """Return the square region on the LR grid with the largest mean of `gain`.

    Parameters
    ----------
    gain : (H, W) array
        What to maximise, such as the squared error of bicubic minus that of a network.
    scale : int
        Positions and the side are multiples of it.
    side : int
        Largest side; smaller images have a smaller region.
    """
    height, width = gain.shape
    side = min(side, height, width) // scale * scale
    sums = np.pad(gain, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    boxes = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    boxes = boxes[::scale, ::scale]
    row, column = np.unravel_index(int(boxes.argmax()), boxes.shape)
    return Region(int(row) * scale, int(column) * scale, side)
