"""This machine's limits for the engine's kernels: the rates of the instructions that they consist of."""

# The compiled functions' parts need no types of their own: Numba infers them.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg"

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from pipeline.benchmark.timing import alternate
from pipeline.engine import kernels
from pipeline.engine.kernels.channel import compiled as channel_kernels
from pipeline.engine.kernels.channel.blocking import blocking
from pipeline.engine.kernels.channel.compiled import LANES, TILE_CONFIGURATION, TILE_ROWS
from pipeline.engine.kernels.channel.compiled.accumulation import accumulate
from pipeline.engine.kernels.channel.compiled.tiles import configure_tiles, multiply_tiles, release_tiles
from pipeline.engine.kernels.channel.filters import BLOCK
from pipeline.engine.kernels.pixel import compiled as pixel_kernels
from pipeline.engine.runner import most_threads
from pipeline.engine.workspace import aligned
from pipeline.machine_code import compiler

ROUNDS = 5
REPEATS = 200_000  # tens of milliseconds: waking the other threads takes one
STEPS = 36
LINES = 256  # 16 KiB: well within the first-level cache

_compiled = compiler(Path(__file__), Path(kernels.__file__).parent)


@intrinsic
def _load_lines(typingctx, address, count):
    """Add up `count` cache lines, eight at a time in sums of their own; an addition for each load."""

    def codegen(context, builder, signature, arguments):
        start, lines = arguments
        kind = ir.VectorType(ir.IntType(16), 32)
        pointer = ir.PointerType(kind)
        sums = [cgutils.alloca_once_value(builder, ir.Constant(kind, [0] * 32)) for _ in range(8)]
        with cgutils.for_range(builder, lines) as group:
            first = builder.add(start, builder.mul(group.index, ir.Constant(ir.IntType(64), 8 * 64)))
            for i, total in enumerate(sums):
                place = builder.inttoptr(builder.add(first, ir.Constant(ir.IntType(64), 64 * i)), pointer)
                line = builder.load(place, align=64)
                builder.store(builder.add(builder.load(total), line), total)
        total = builder.load(sums[0])
        for other in sums[1:]:
            total = builder.add(total, builder.load(other))
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return types.int16(types.int64, types.int64), codegen


@_compiled(parallel=True)
def _load(lines: NDArray[np.int16], repeats: int, workers: int) -> Any:
    totals = np.zeros(workers, np.int64)
    for worker in prange(workers):
        for _ in range(repeats):
            totals[worker] += _load_lines(lines[worker].ctypes.data, LINES // 8)
    return totals


@_compiled(parallel=True)
def _look_up(indices, pixels, vectors, tables, offsets, sums, repeats):
    for worker in prange(len(sums)):
        for _ in range(repeats):
            accumulate(
                indices, pixels, vectors, tables[worker].ctypes.data, 0, offsets.ctypes.data, indices.ctypes.data,
                offsets.size, sums[worker].ctypes.data, 0, sums[worker].ctypes.data,
            )  # fmt: skip


@_compiled(parallel=True)
def _multiply(weights, products, pixels, offsets, initial, sums, configuration, repeats):
    for worker in prange(len(sums)):
        configure_tiles(configuration.ctypes.data)
        for _ in range(repeats):
            multiply_tiles(
                weights, products, (1, 1), (1, 1), pixels[worker].ctypes.data, 64, 0, offsets.ctypes.data,
                weights.ctypes.data, offsets.size, initial.ctypes.data, sums[worker].ctypes.data, 128,
            )  # fmt: skip
        release_tiles()


def load_rate(threads: int) -> dict[str, float]:
    """Measure this machine's limits on `threads` threads, or as many as Numba has, with all data in first-level caches.

    Returns
    -------
    dict
        ``load_gb_per_s``: loads of whole cache lines, each added up; ``pixel_table_gmacs_per_s``: what the tables in
        the first-level cache (`engine.kernels.pixel.compiled`) can reach at that rate with int16 sums, in 10⁹
        multiply-adds per second. Where the processor has them, ``table_<activations>_gmacs_per_s``: the microkernels of
        `pipeline.engine.kernels.channel.compiled` alone, without the code around them; ``tiles_…``: of those for AMX.
    """
    threads_before, threads = numba.get_num_threads(), min(threads, most_threads())
    numba.set_num_threads(threads)
    try:
        lines = aligned(np.zeros((threads, LINES * 32), np.int16))
        per_second = 64 * LINES * REPEATS * threads / _best(lambda: _load(lines, REPEATS, threads))
        # Each load of a vector of int16 is a look-up of four channels' sum for every lane.
        rates = {
            "load_gb_per_s": round(per_second / 1e9, 1),
            "pixel_table_gmacs_per_s": round(per_second / 2 * pixel_kernels.CHANNELS / 1e9, 1),
        }
        if channel_kernels.supported():
            rates |= {f"table_{name}_gmacs_per_s": _table_rate(name, threads) for name in ("float32", "int8", "int6")}
        if channel_kernels.tiles_supported():
            rates |= {f"tiles_{name}_gmacs_per_s": _tile_rate(name, threads) for name in ("float32", "int8")}
        return rates
    finally:
        numba.set_num_threads(threads_before)


def _table_rate(activations: str, threads: int) -> float:
    dtype, multiply_adds = {"float32": (np.uint32, 80), "int8": (np.uint16, 160), "int6": (np.uint8, 256)}[activations]
    wide = 2 if activations == "int8" else 1
    vectors = BLOCK // LANES // wide
    kind: Any = f"table_{activations}"
    pixels = blocking(kind).pixels(vectors)
    indices = aligned(np.zeros((STEPS, vectors, 64 // np.dtype(dtype).itemsize), dtype))
    bytes_a_table = 128 if activations == "float32" else 64
    tables = aligned(np.zeros((threads, bytes_a_table * (pixels + 8)), np.uint8))
    offsets = np.arange(STEPS, dtype=np.int64) % 8 * bytes_a_table
    sums = aligned(np.zeros((threads, pixels * BLOCK), np.float32 if activations == "float32" else np.int32))
    seconds = _best(lambda: _look_up(indices, (1,) * pixels, (1,) * vectors, tables, offsets, sums, REPEATS))
    return round(multiply_adds * pixels * vectors * STEPS * REPEATS * threads / seconds / 1e9, 1)


def _tile_rate(activations: str, threads: int) -> float:
    dtype, products, multiply_adds = {"float32": (np.int16, 3, 32), "int8": (np.int8, 1, 64)}[activations]
    steps = 9
    weights = aligned(np.zeros((1, steps, 1, 2, TILE_ROWS, 64 // np.dtype(dtype).itemsize), dtype))
    pixels = aligned(np.zeros((threads, (2 * TILE_ROWS + steps) * 64), np.uint8))
    offsets = 64 * np.arange(steps)
    initial = aligned(np.zeros(2 * LANES, np.int32))
    sums = aligned(np.zeros((threads, 4 * TILE_ROWS * LANES), np.int32))
    run = functools.partial(_multiply, weights, (1,) * products, pixels, offsets, initial, sums, TILE_CONFIGURATION)
    repeats = REPEATS // 4
    seconds = _best(lambda: run(repeats))
    return round(multiply_adds * 4 * TILE_ROWS * LANES * steps * repeats * threads / seconds / 1e9, 1)


def _best(run: Any) -> float:
    """Return the time of the fastest of a few runs, in seconds; the first run, which compiles, does not count."""
    return min(alternate({"": run}, ROUNDS)[""])
