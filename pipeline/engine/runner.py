"""The engine: packed networks on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import get_args

import numba
import numpy as np
from numpy.typing import NDArray

from pipeline.engine.kernels.channel import compiled as channel_kernels
from pipeline.engine.layers import layers_of, receptive_radius
from pipeline.engine.networks import Architecture, Array
from pipeline.engine.ops import EngineOps
from pipeline.engine.output_formats import Method
from pipeline.engine.parts import Parts, parted
from pipeline.engine.ranges import roundings_of
from pipeline.engine.tiles import Span, cut
from pipeline.errors import InputError
from pipeline.packed import PackedNetwork, read
from pipeline.runs import Activations, FloatLayers
from pipeline.upscaling import Depth, Region, shifted, upscaling_of

TILE = 560  # with the networks of the papers, a pass then takes less than 1 GiB
SHUFFLED_TILE = 192  # of the part of a network from its first pixel shuffle on


class Engine:
    """A packed network, prepared for inference on the CPU.

    Parameters
    ----------
    packed : PackedNetwork
    activations : {"auto", "float32", "int8", "int6", "int1"}
        Inputs of the binary convolutions: float32, as in the paper (W1A32); rounded to 8 or 6 bits by the ranges in the
        network's metadata (see `pipeline.engine.calibration`); or signs, for networks trained with them (W1A1). "auto"
        is the mode in the network's metadata (see `pipeline.default_mode`), and float32 without one.
    float_layers : {"float32", "bfloat16", "int8"}, optional
        Arithmetic of the other convolutions: float32 (on processors with AMX also by products of parts, each within a
        rounding of float32); bfloat16 with sums in float32, on processors with AVX-512 BF16;
        or activations and filters rounded to 8 bits. The first layer always computes in float32: it takes little time,
        and what it loses, all others amplify. By default float32, or that of the mode in the metadata if `activations`
        is "auto".
    threads : int, optional
        Number of threads; by default that of Numba.
    architecture : Architecture, optional
        How the layers are connected; by default that in the network's metadata.
    tile : int, optional
        Side of the tiles that larger images are cut into, in pixels of the network's input; from the first pixel
        shuffle on, tiles are smaller. It bounds the memory, and results are the same bit for bit. None for no tiles.
    method : {"auto", "tables", "popcount"}
        Algorithm of binary layers: look-ups in tables of signed sums; for rounded activations also population counts of
        bit planes, the textbook method, as a baseline. "auto" is tables, and matrix products in tile registers on
        processors with AMX. Layers whose inputs are rounded give the same results bit for bit.

    Raises
    ------
    InputError
        If a tensor is missing or does not fit, the network has no ranges for the rounding or no layers to round for,
        Numba has fewer threads, or the processor lacks the instructions.
    """

    def __init__(
        self,
        packed: PackedNetwork,
        activations: Activations = "auto",
        threads: int | None = None,
        architecture: Architecture | None = None,
        float_layers: FloatLayers | None = None,
        tile: int | None = TILE,
        method: Method = "auto",
    ) -> None:
        if activations == "auto":
            mode = packed.metadata.get("mode") or {}
            activations, float_layers = mode.get("activations", "float32"), float_layers or mode.get("float_layers")
        self.activations, self.float_layers = activations, float_layers or "float32"
        for field, value, choices in (
            ("activations", self.activations, get_args(Activations)),
            ("float_layers", self.float_layers, get_args(FloatLayers)),
            ("method", method, get_args(Method)),
        ):
            if value not in choices:
                raise InputError(f"{field}: {value!r} is unknown; choose {', '.join(choices)}")
        most = most_threads()
        if threads is not None and not 1 <= threads <= most:
            raise InputError(f"threads: {threads} is out of range; choose 1 to {most}, or set NUMBA_NUM_THREADS")
        if method == "popcount" and not channel_kernels.supported():
            raise InputError("method: popcount needs a processor with AVX-512 VBMI and VNNI; choose tables")
        if self.float_layers == "bfloat16" and not channel_kernels.bfloat16_supported():
            raise InputError("float_layers: bfloat16 needs a processor with AVX-512 BF16; choose float32 or int8")
        if tile is not None and tile < 1:
            raise InputError(f"tile: {tile} is too small; choose 1 or more, or None")
        self.architecture = architecture or Architecture.of(packed)
        self.threads, self.tile = threads, tile
        layers = layers_of(packed, self.architecture)
        self._reach = receptive_radius(layers)
        self._lock = threading.Lock()
        roundings = roundings_of(packed, layers, self.activations, self.float_layers)
        self.ops = EngineOps(layers, roundings, method)
        self._parts: Callable[[], Parts] | None = None
        if (both := parted(layers)) is not None:
            make = partial(EngineOps, roundings=roundings, method=method)
            self._parts = cache(partial(Parts, self.architecture, *both, make))  # made for the first large image

    @classmethod
    def load(
        cls,
        path: str | Path,
        activations: Activations = "auto",
        threads: int | None = None,
        float_layers: FloatLayers | None = None,
        tile: int | None = TILE,
    ) -> Engine:
        """Load a packed network from a file; the other parameters and the errors are those of the class."""
        packed = read(path)
        try:
            return cls(packed, activations, threads, float_layers=float_layers, tile=tile)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def upscale(self, image: NDArray[Depth]) -> NDArray[Depth]:
        """Upscale an image.

        Parameters
        ----------
        image : uint8 or uint16, shape (h, w, 3) RGB or (h, w) grey, of any size but empty

        Returns
        -------
        same type as the image, shape (scale·h, scale·w, 3) or (scale·h, scale·w)

        Raises
        ------
        InputError
            For an image of another type or shape, or an empty one; and where the network's output is not finite, which
            rounded activations may hide.
        """
        upscaling = upscaling_of(image, self.architecture.model, self.architecture.scale)
        self._run_tiles(upscaling.size, upscaling.read, upscaling.write)
        return upscaling.result

    def forward(self, x: Array) -> Array:
        """Run the network without rounding its output.

        Parameters
        ----------
        x : float32, shape (C, h, w), in [0, 1]
            RGB; for VDSR, the luma of the bicubic image, divided by 255.

        Returns
        -------
        float32, shape (C, scale·h, scale·w); for VDSR, the shape of `x`

        Raises
        ------
        InputError
            For an input of another type or shape.
        """
        channels = self.architecture.channels
        if x.dtype != np.float32 or x.ndim != 3 or len(x) != channels or x.size == 0:
            raise InputError(f"input: is {x.dtype} of shape {x.shape}; give float32 of shape ({channels}, h, w)")
        result = np.empty((0, 0, 0), np.float32)

        def write(region: Region, part: Array) -> None:
            nonlocal result
            factor = part.shape[1] // (region[0].stop - region[0].start)
            shape = len(part), factor * x.shape[1], factor * x.shape[2]
            if part.shape == shape:
                result = part if part.flags.owndata else part.copy()  # not a buffer, which the next run overwrites
                return
            result = result if result.size else np.empty(shape, np.float32)
            rows, columns = (slice(factor * span.start, factor * span.stop) for span in region)
            result[:, rows, columns] = part

        height, width = x.shape[1:]
        self._run_tiles((height, width), lambda region: x[:, *region], write)
        return result

    def _run_tiles(
        self, size: tuple[int, int], read: Callable[[Region], Array], write: Callable[[Region, Array], None]
    ) -> None:
        """Run on an input of some height and width, tile by tile; `read` gives a region of it, `write` takes one."""
        whole = slice(0, size[0]), slice(0, size[1])
        with self._lock, _threads(self.threads):
            parts: Parts | None = None
            try:
                if self.tile is None or max(size) <= self._most(self.tile):
                    write(whole, self._run(read(whole)))
                    return
                parts = None if self._parts is None else self._parts()
                rows, columns = (cut(Span.whole(length), self.tile, self._reach) for length in size)
                for row, column in product(rows, columns):
                    x = read((row.read, column.read))
                    if parts is None:
                        write((row.own, column.own), _inside(self._run(x), row, column))
                    else:
                        _run_parts(parts, x, row, column, write, keep=len(rows) == len(columns) == 1)
            except BaseException:  # out of memory, for example: nothing that was taken stays for the next image
                self.ops.clear()
                if parts is not None:
                    parts.clear()
                raise

    def _most(self, tile: int) -> int:
        """Return the side of the largest image that is not cut into tiles."""
        most = tile + 2 * self._reach
        return most if self._parts is None else min(most, SHUFFLED_TILE)

    def _run(self, x: Array) -> Array:
        return self.architecture.forward(self.ops, _plain(x))


def _plain(x: Array) -> Array:
    """Return an array of the kind for which the kernels are compiled: contiguous, and not read-only."""
    return np.require(x, requirements=["C", "W"])


def _run_parts(
    parts: Parts, x: Array, row: Span, column: Span, write: Callable[[Region, Array], None], keep: bool
) -> None:
    """Run a network in its two parts on a tile, the second on smaller tiles; `keep` is that of `Parts.first`."""
    features = parts.first(_plain(x), keep)
    down, across = (cut(span, SHUFFLED_TILE, parts.reach) for span in (row, column))
    for small_row, small_column in product(down, across):
        rows = shifted(small_row.read, -row.read.start)
        columns = shifted(small_column.read, -column.read.start)
        out = parts.second(_plain(features[:, rows, columns]))
        write((small_row.own, small_column.own), _inside(out, small_row, small_column))


def _inside(out: Array, row: Span, column: Span) -> Array:
    """Return the output of a tile without its halo."""
    factor = out.shape[1] // (row.read.stop - row.read.start)
    return out[:, row.inside(factor), column.inside(factor)]


def most_threads() -> int:
    """Return the number of threads that Numba started with: the most that an engine can use."""
    return numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # set at run time


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = numba.get_num_threads()
    numba.set_num_threads(count or before)
    try:
        yield
    finally:
        numba.set_num_threads(before)
