"""Cutting large images into tiles with a halo, so that the result equals that of the whole image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A tile along one axis, in pixels of the network's input.

    Attributes
    ----------
    first, last : int
        The tile itself, without its halo: first..last-1.
    read : slice
        The tile with its halo.
    """

    first: int
    last: int
    read: slice

    @property
    def own(self) -> slice:
        """The tile without its halo."""
        return slice(self.first, self.last)

    def inside(self, scale: int) -> slice:
        """Return the position of the tile in the output for its `read` slice."""
        return slice(scale * (self.first - self.read.start), scale * (self.last - self.read.start))


def cut_again(span: Span, tile: int, reach: int) -> list[Span]:
    """Cut a tile into smaller ones, of a part of the network with a smaller reach, within what the tile reads."""
    spans = []
    for part in cut(span.last - span.first, tile, 0):
        reading = min(part.read.stop - part.read.start + 2 * reach, span.read.stop - span.read.start)
        first = span.first + part.first
        begin = min(max(first - reach, span.read.start), span.read.stop - reading)
        spans.append(Span(first, span.first + part.last, slice(begin, begin + reading)))
    return spans


def cut(length: int, tile: int, reach: int) -> list[Span]:
    """Cut a length into nearly equal tiles of at most `tile` pixels, with `read` slices of equal length.

    Parameters
    ----------
    length : int
    tile : int
    reach : int
        The halo: how many pixels beyond its edges a tile depends on.
    """
    count = -(-length // tile)
    size = -(-length // count)
    reading = min(size + 2 * reach, length)
    spans = []
    for first in range(0, length, size):
        begin = min(max(first - reach, 0), length - reading)
        spans.append(Span(first, min(first + size, length), slice(begin, begin + reading)))
    return spans
