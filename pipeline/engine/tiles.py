"""Large images in tiles, each read with so much around it that the result is that of the whole image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """One tile in one direction, in pixels of the network's input.

    Attributes
    ----------
    first, last : int
        What the tile is to give: first..last-1.
    read : slice
        What it is computed from.
    """

    first: int
    last: int
    read: slice

    def write(self, scale: int) -> slice:
        """Where its result belongs in the whole result, `scale` times as large."""
        return slice(scale * self.first, scale * self.last)

    def inside(self, scale: int) -> slice:
        """Where its result lies in what was computed."""
        return slice(scale * (self.first - self.read.start), scale * (self.last - self.read.start))


def cut(length: int, tile: int, reach: int) -> list[Span]:
    """Cut a length into tiles of at most `tile`, as even as they can be, that all read equally much.

    Parameters
    ----------
    length : int
    tile : int
    reach : int
        How far around a tile its results depend on.
    """
    count = -(-length // tile)
    size = -(-length // count)
    room = min(size + 2 * reach, length)
    spans = []
    for first in range(0, length, size):
        begin = min(max(first - reach, 0), length - room)
        spans.append(Span(first, min(first + size, length), slice(begin, begin + room)))
    return spans
