"""How an image is cut into tiles, and how a tile lies in memory.

A tile's rows, with their halo, follow each other without a gap. The pixel that a tap reads is then at one fixed
distance from the pixel that it adds to, for the whole tile: a convolution is a sum of shifted *runs*, long and
contiguous. The run also passes over the halo between two rows; what it sums up there is not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# Runs are multiples of this: whole vectors, unrolled, for any vector width.
RUN_STEP = 64


@dataclass(frozen=True)
class Tiling:
    """Tiles of equal size that cover an image.

    Attributes
    ----------
    rows, columns : int
        Output pixels of a tile; the last tiles of an image may have fewer.
    kernel : int
    pitch : int
        From one row of a tile to the next: ``columns + kernel - 1``.
    run : int
        Values summed up for a tile, those between its rows included.
    span : int
        Values that a run's taps read.
    """

    rows: int
    columns: int
    kernel: int

    @property
    def pitch(self) -> int:
        return self.columns + self.kernel - 1

    @property
    def run(self) -> int:
        return -(-((self.rows - 1) * self.pitch + self.columns) // RUN_STEP) * RUN_STEP

    @property
    def span(self) -> int:
        return self.run + (self.kernel - 1) * (self.pitch + 1)

    def taps(self) -> NDArray[np.uint64]:
        """The distance of each tap's pixel from the first's, in row-major order; shape (kernel²,)."""
        i = np.arange(self.kernel)
        return (i[:, None] * self.pitch + i).ravel().astype(np.uint64)


@lru_cache(maxsize=256)
def tiling(height: int, width: int, kernel: int, longest_run: int) -> Tiling:
    """Choose the tiles that cost least: fewest values read in all, in runs of at most `longest_run`."""

    def candidate(across: int) -> Tiling:
        columns = -(-width // across)
        most_rows = (longest_run - columns) // (columns + kernel - 1) + 1
        down = -(-height // most_rows)
        return Tiling(-(-height // down), columns, kernel)

    def cost(tile: Tiling) -> int:
        return -(-height // tile.rows) * -(-width // tile.columns) * tile.span

    fewest = -(-width // longest_run)
    return min(map(candidate, range(fewest, max(fewest, width // 8) + 1)), key=cost)
