"""Binary filters by table look-up, with tables in the first-level cache."""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg,var-annotated"

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numpy.typing import NDArray

from pipeline.engine.kernels.emit import FLOAT, I16, I32, I64, at, constant, emit_loop
from pipeline.engine.kernels.parallel import call_on_workers, compiled
from pipeline.engine.kernels.pixel.compiled.epilogue import Array, EpilogueArguments, finish, first_aligned, tiling
from pipeline.engine.kernels.pixel.compiled.vectors import FLOAT_LANES, INT16_LANES, VECTOR_BYTES, microkernel

CHANNELS = 4  # channels of one table
SUMS = 1 << CHANNELS  # their signed sums

# Rows of a tile for table look-up, with one accumulator each. The table of one channel group for 3×3 filters has
# 3 shifts × 16 sums × 10 rows of one vector: 30 KiB for AVX-512 and 15 KiB for AVX2, within a first-level cache.
TABLE_ROWS = 8

# Look-ups before an int16 sum can overflow: each is a signed sum of 4 levels within ±255.
SAFE_LOOK_UPS = 32767 // (CHANNELS * 255)


def _emit_build_table(element: Any, builder: Any, arguments: Any) -> None:
    """Store the signed sums of four channels around a tile for every horizontal shift, so that look-ups are aligned."""
    source, channel_stride, row_stride, table, size, rows = arguments
    vector = ir.VectorType(element, VECTOR_BYTES // (2 if element is I16 else 4))
    if element is FLOAT:
        add, sub, neg = builder.fadd, builder.fsub, builder.fneg
    else:
        add, sub, neg = builder.add, builder.sub, builder.neg
    sum_stride = builder.mul(rows, constant(VECTOR_BYTES))
    with cgutils.for_range(builder, size) as shift, cgutils.for_range(builder, rows) as row:
        start = builder.add(source, builder.mul(shift.index, constant(2 if element is I16 else 4)))
        start = builder.add(start, builder.mul(row.index, row_stride))
        a, b, c, d = (
            builder.load(at(builder, builder.add(start, builder.mul(channel_stride, constant(i))), vector), align=2)
            for i in range(CHANNELS)
        )
        ab, cd = add(a, b), add(c, d)
        low = [neg(ab), sub(a, b), sub(b, a), ab]
        high = [neg(cd), sub(c, d), sub(d, c), cd]
        target = builder.mul(builder.mul(shift.index, constant(SUMS)), sum_stride)
        target = builder.add(builder.add(table, target), builder.mul(row.index, constant(VECTOR_BYTES)))
        for i in range(SUMS):
            place = builder.add(target, builder.mul(sum_stride, constant(i)))
            builder.store(add(low[i & 3], high[i >> 2]), at(builder, place, vector), align=VECTOR_BYTES)


def _emit_add_look_ups(element: Any, builder: Any, arguments: Any) -> None:
    """Add `count` look-ups to the sums of each output; an output's byte offsets into the table are `stride` apart."""
    sums, table, offsets, outputs, count, stride = arguments
    vector = ir.VectorType(element, VECTOR_BYTES // (2 if element is I16 else 4))
    add = builder.fadd if element is FLOAT else builder.add
    with cgutils.for_range(builder, outputs) as output:
        place = builder.add(sums, builder.mul(output.index, constant(TABLE_ROWS * VECTOR_BYTES)))
        first = builder.add(offsets, builder.mul(builder.mul(output.index, stride), constant(4)))
        places = [at(builder, place, vector, VECTOR_BYTES * row) for row in range(TABLE_ROWS)]

        def step(index: Any, accumulators: list[Any], first: Any = first) -> list[Any]:
            offset = builder.load(at(builder, builder.add(first, builder.mul(index, constant(4))), I32))
            start = builder.add(table, builder.zext(offset, I64))
            return [
                add(value, builder.load(at(builder, start, vector, VECTOR_BYTES * row), align=VECTOR_BYTES))
                for row, value in enumerate(accumulators)
            ]

        accumulators = emit_loop(builder, count, [builder.load(p, align=VECTOR_BYTES) for p in places], step)
        for value, p in zip(accumulators, places, strict=True):
            builder.store(value, p, align=VECTOR_BYTES)


_build_table_float32 = microkernel(_emit_build_table, FLOAT)

_build_table_int16 = microkernel(_emit_build_table, I16)

_add_look_ups_float32 = microkernel(_emit_add_look_ups, FLOAT)

_add_look_ups_int16 = microkernel(_emit_add_look_ups, I16)


@compiled
def convolve_binary(
    padded: Array, offsets: NDArray[np.uint32], size: int, epilogue: EpilogueArguments, workers: int
) -> None:
    """Convolve with binary filters by table look-up, all sums in float32.

    Parameters
    ----------
    padded, epilogue, workers
        As for `convolve`.
    offsets : uint32, shape (groups, O, size²)
        See `pipeline.engine.kernels.pixel.tables.look_up_offsets`.
    size : int
        Height and width of the filters.
    """
    call_on_workers(_convolve_binary, workers, (workers, padded, offsets, size, epilogue))


@compiled
def _convolve_binary(worker, workers, padded, offsets, size, epilogue):
    rows, lanes, row_stride = TABLE_ROWS, FLOAT_LANES, 4 * padded.shape[2]
    across, tiles = tiling(epilogue, rows, lanes)
    groups, outputs, taps = offsets.shape
    channel_stride, table_rows = padded.shape[1] * row_stride, rows + size - 1
    table = np.empty((size * SUMS * table_rows + 1) * lanes, np.float32)
    sums = np.empty((outputs * rows + 1) * lanes, np.float32)
    base = (-sums.ctypes.data % VECTOR_BYTES) // 4
    for index in range(worker * tiles // workers, (worker + 1) * tiles // workers):
        top, left = index // across * rows, index % across * lanes
        sums[:] = 0
        for group in range(groups):
            aligned = first_aligned(table)  # here, not before the loops: Numba frees an array after its last use
            source = padded.ctypes.data + group * CHANNELS * channel_stride + top * row_stride + left * 4
            _build_table_float32(source, channel_stride, row_stride, aligned, size, table_rows)
            group_offsets = offsets.ctypes.data + 4 * group * outputs * taps
            _add_look_ups_float32(sums.ctypes.data + 4 * base, aligned, group_offsets, outputs, taps, taps)
        finish(sums, base, 0, outputs, top, left, rows, lanes, epilogue)


@compiled
def convolve_binary_levels(
    padded: NDArray[np.int16], offsets: NDArray[np.uint32], size: int, epilogue: EpilogueArguments, workers: int
) -> None:
    """Convolve levels (`padded` is what `pad_quantized` gives) with binary filters; all sums are exact."""
    call_on_workers(_convolve_binary_levels, workers, (workers, padded, offsets, size, epilogue))


@compiled
def _convolve_binary_levels(worker, workers, padded, offsets, size, epilogue):
    rows, lanes, row_stride = TABLE_ROWS, INT16_LANES, 2 * padded.shape[2]
    across, tiles = tiling(epilogue, rows, lanes)
    groups, outputs, taps = offsets.shape
    channel_stride, table_rows = padded.shape[1] * row_stride, rows + size - 1
    table = np.empty((size * SUMS * table_rows + 1) * lanes, np.int16)
    partial = np.zeros((outputs * rows + 1) * lanes, np.int16)
    sums = np.empty(partial.size, np.int32)
    base = (-partial.ctypes.data % VECTOR_BYTES) // 2
    for index in range(worker * tiles // workers, (worker + 1) * tiles // workers):
        top, left = index // across * rows, index % across * lanes
        sums[:] = 0
        pending = 0  # look-ups in `partial`
        for group in range(groups):
            aligned = first_aligned(table)  # here, not before the loops: Numba frees an array after its last use
            source = padded.ctypes.data + group * CHANNELS * channel_stride + top * row_stride + left * 2
            _build_table_int16(source, channel_stride, row_stride, aligned, size, table_rows)
            for start in range(0, taps, SAFE_LOOK_UPS):
                count = min(SAFE_LOOK_UPS, taps - start)
                if pending + count > SAFE_LOOK_UPS:
                    _widen(partial, sums)
                    pending = 0
                group_offsets = offsets.ctypes.data + 4 * (group * outputs * taps + start)
                _add_look_ups_int16(partial.ctypes.data + 2 * base, aligned, group_offsets, outputs, count, taps)
                pending += count
        _widen(partial, sums)
        finish(sums, base, 0, outputs, top, left, rows, lanes, epilogue)


@compiled
def _widen(partial, sums):
    """Add the int16 sums to the int32 sums, and clear them."""
    for i in range(sums.size):
        sums[i] += partial[i]
        partial[i] = 0
