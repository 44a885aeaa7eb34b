"""Cutting large images into tiles with a halo, so that the result equals that of the whole image.

Tiles are read from even positions on: some kernels compute blocks of 2×2 pixels, whose rounding depends on the position
in the block.
"""

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

    @classmethod
    def whole(cls, length: int) -> Span:
        """Return all of an axis."""
        return cls(0, length, slice(0, length))

    @property
    def own(self) -> slice:
        """The tile without its halo."""
        return slice(self.first, self.last)

    def inside(self, scale: int) -> slice:
        """Return the position of the tile in the output for its `read` slice."""
        return slice(scale * (self.first - self.read.start), scale * (self.last - self.read.start))


def cut(span: Span, tile: int, reach: int) -> list[Span]:
    """Cut a tile, or all of an axis, into nearly equal smaller tiles, within what it reads.

    They have an even number of pixels, at most `tile` if that is even. Their `read` slices have equal lengths and start
    at even positions.

    Parameters
    ----------
    span : Span
        See `Span.whole`.
    tile : int
    reach : int
        The halo: how many pixels beyond its edges a tile depends on.
    """
    length, available = span.last - span.first, span.read.stop - span.read.start
    size, halo = _even(-(-length // -(-length // tile))), _even(reach)
    reading = min(size + 2 * halo + available % 2, available)
    spans = []
    for first in range(span.first, span.last, size):
        begin = min(max(first - halo, span.read.start), span.read.stop - reading)
        spans.append(Span(first, min(first + size, span.last), slice(begin, begin + reading)))
    return spans


def _even(number: int) -> int:
    return number + number % 2
