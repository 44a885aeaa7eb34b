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

# Rows of a tile for table look-up, with one accumulator each. With AVX2, the tables of three groups of channels for 3×3
# filters then have 16 sums × 10 rows of one cache line each: 30 KiB. With AVX-512, that of one group has as much.
TABLE_ROWS = 8

# Bytes of a row of a table: a cache line. A vector of AVX2 takes half of it, so that with a tail of a few more values
# it can be read at several horizontal shifts; one of AVX-512 takes it all, and there each shift has a copy of the row.
ROW_BYTES = 64
TAIL = 0 if VECTOR_BYTES == ROW_BYTES else 4  # values
SHIFTS = TAIL + 1

# Bytes of the tables that are built before they are read: of as many groups of channels as fit a first-level cache. An
# accumulator is then loaded and stored once for all of them.
TABLE_BYTES = 31 << 10

# Look-ups before an int16 sum can overflow: each is a signed sum of 4 levels within ±255.
SAFE_LOOK_UPS = 32767 // (CHANNELS * 255)


def table_bytes(size: int) -> int:
    """Return the bytes of the table of one group of channels, for filters of size × size taps."""
    return -(-size // SHIFTS) * SUMS * (TABLE_ROWS + size - 1) * ROW_BYTES


def groups_at_once(size: int, value_bytes: int) -> int:
    """Return the number of groups of channels whose tables are built before they are read."""
    fitting = TABLE_BYTES // table_bytes(size)
    return max(1, min(fitting, SAFE_LOOK_UPS // size**2) if value_bytes == 2 else fitting)


def _lanes(element: Any) -> tuple[Any, int, int]:
    """Return a vector's type, the bytes of a value, and the number of values in a vector."""
    value_bytes = 2 if element is I16 else 4
    lanes = VECTOR_BYTES // value_bytes
    return ir.VectorType(element, lanes), value_bytes, lanes


def _emit_build_table(element: Any, builder: Any, arguments: Any) -> None:
    """Store the signed sums of four channels around a tile, so that look-ups stay within a cache line."""
    source, channel_stride, row_stride, table, size, rows = arguments
    vector, value_bytes, lanes = _lanes(element)
    if element is FLOAT:
        add, sub, neg = builder.fadd, builder.fsub, builder.fneg
    else:
        add, sub, neg = builder.add, builder.sub, builder.neg
    sum_stride, shifts, last = builder.mul(rows, constant(ROW_BYTES)), constant(SHIFTS), constant(SHIFTS - 1)
    copies = builder.sdiv(builder.add(size, last), shifts)
    with cgutils.for_range(builder, copies) as copy, cgutils.for_range(builder, rows) as row:
        shift = builder.mul(copy.index, shifts)
        start = builder.add(source, builder.mul(shift, constant(value_bytes)))
        start = builder.add(start, builder.mul(row.index, row_stride))
        target = builder.mul(builder.mul(copy.index, constant(SUMS)), sum_stride)
        target = builder.add(builder.add(table, target), builder.mul(row.index, constant(ROW_BYTES)))
        parts = [(constant(0), vector)]
        if TAIL:  # the last values of the row that are read, not those beyond: the image may end there
            beyond = builder.sub(builder.sub(size, constant(1)), shift)
            beyond = builder.select(builder.icmp_signed("<", beyond, last), beyond, last)
            tail = builder.mul(builder.add(beyond, constant(lanes - TAIL)), constant(value_bytes))
            parts.append((tail, ir.VectorType(element, TAIL)))
        terms = []
        for part, kind in parts:
            begin = builder.add(start, part)
            a, b, c, d = (
                builder.load(at(builder, builder.add(begin, builder.mul(channel_stride, constant(i))), kind), align=2)
                for i in range(CHANNELS)
            )
            ab, cd = add(a, b), add(c, d)
            terms.append(([neg(ab), sub(a, b), sub(b, a), ab], [neg(cd), sub(c, d), sub(d, c), cd]))
        for i in range(SUMS):
            place = builder.add(target, builder.mul(sum_stride, constant(i)))
            for (part, kind), (low, high) in zip(parts, terms, strict=True):
                total = add(low[i & 3], high[i >> 2])
                builder.store(total, at(builder, builder.add(place, part), kind), align=2)


def _emit_add_look_ups(element: Any, builder: Any, arguments: Any) -> None:
    """Add `count` look-ups to the sums of each output; an output's byte offsets into the table are `stride` apart.

    The sums are float32, or int32: those of int16 look-ups, which must be safe, are widened once for all.
    """
    sums, table, offsets, outputs, count, stride = arguments
    vector, value_bytes, lanes = _lanes(element)
    floats = element is FLOAT
    kind = vector if floats else ir.VectorType(I32, lanes)
    with cgutils.for_range(builder, outputs) as output:
        place = builder.add(sums, builder.mul(output.index, constant(4 * lanes * TABLE_ROWS)))
        first = builder.add(offsets, builder.mul(builder.mul(output.index, stride), constant(4)))

        def look_up(index: Any, accumulators: list[Any], first: Any = first) -> list[Any]:
            offset = builder.load(at(builder, builder.add(first, builder.mul(index, constant(4))), I32))
            start, add = builder.add(table, builder.zext(offset, I64)), builder.fadd if floats else builder.add
            return [
                add(value, builder.load(at(builder, start, vector, ROW_BYTES * row), align=value_bytes))
                for row, value in enumerate(accumulators)
            ]

        places = [at(builder, place, kind, 4 * lanes * row) for row in range(TABLE_ROWS)]
        totals = [builder.load(p, align=VECTOR_BYTES) for p in places]
        if floats:
            totals = emit_loop(builder, count, totals, look_up)
        else:
            none = [ir.Constant(vector, [0] * lanes)] * TABLE_ROWS
            added = emit_loop(builder, count, none, look_up)
            totals = [builder.add(*pair) for pair in zip(totals, (builder.sext(a, kind) for a in added), strict=True)]
        for total, p in zip(totals, places, strict=True):
            builder.store(total, p, align=VECTOR_BYTES)


_build_table_float32 = microkernel(_emit_build_table, FLOAT)

_build_table_int16 = microkernel(_emit_build_table, I16)

_add_look_ups_float32 = microkernel(_emit_add_look_ups, FLOAT)

_add_look_ups_int16 = microkernel(_emit_add_look_ups, I16)


@compiled
def _room_for_tables(count, size):
    return np.empty(count * -(-size // SHIFTS) * SUMS * (TABLE_ROWS + size - 1) * ROW_BYTES + ROW_BYTES, np.uint8)


@compiled
def _build_tables(padded, first, count, top, left, size, tables):
    """Build the tables of `count` groups of channels for a tile, one after another, and return their address."""
    row_stride, rows = padded.itemsize * padded.shape[2], TABLE_ROWS + size - 1
    channel_stride, one_table = padded.shape[1] * row_stride, -(-size // SHIFTS) * SUMS * rows * ROW_BYTES
    image = padded.ctypes.data + top * row_stride + left * padded.itemsize
    address = first_aligned(tables, ROW_BYTES)
    for i in range(count):
        source, target = image + (first + i) * CHANNELS * channel_stride, address + i * one_table
        if padded.itemsize == 4:
            _build_table_float32(source, channel_stride, row_stride, target, size, rows)
        else:
            _build_table_int16(source, channel_stride, row_stride, target, size, rows)
    return address


@compiled
def convolve_binary(
    padded: Array, offsets: NDArray[np.uint32], size: int, at_once: int, epilogue: EpilogueArguments, workers: int
) -> None:
    """Convolve with binary filters by table look-up, all sums in float32.

    Parameters
    ----------
    padded, epilogue, workers
        As for `convolve`.
    offsets : uint32, shape (groups · O · size²,)
        See `pipeline.engine.kernels.pixel.tables.look_up_offsets`.
    size : int
        Height and width of the filters.
    at_once : int
        See `groups_at_once`.
    """
    call_on_workers(_convolve_binary, workers, (workers, padded, offsets, size, at_once, epilogue))


@compiled
def _convolve_binary(worker, workers, padded, offsets, size, at_once, epilogue):
    rows, lanes, taps = TABLE_ROWS, FLOAT_LANES, size * size
    across, tiles = tiling(epilogue, rows, lanes)
    outputs, groups = epilogue.scale.size, padded.shape[0] // CHANNELS
    tables = _room_for_tables(at_once, size)
    sums = np.empty((outputs * rows + 1) * lanes, np.float32)
    base = (-sums.ctypes.data % VECTOR_BYTES) // 4
    for index in range(worker * tiles // workers, (worker + 1) * tiles // workers):
        top, left = index // across * rows, index % across * lanes
        sums[:] = 0
        for group in range(0, groups, at_once):
            together = min(at_once, groups - group)
            aligned = _build_tables(padded, group, together, top, left, size, tables)
            of_groups, count = offsets.ctypes.data + 4 * group * outputs * taps, together * taps
            _add_look_ups_float32(sums.ctypes.data + 4 * base, aligned, of_groups, outputs, count, count)
        finish(sums, base, 0, outputs, top, left, rows, lanes, epilogue)


@compiled
def convolve_binary_levels(
    padded: NDArray[np.int16],
    offsets: NDArray[np.uint32],
    size: int,
    at_once: int,
    epilogue: EpilogueArguments,
    workers: int,
) -> None:
    """Convolve levels (`padded` is what `pad_quantized` gives) with binary filters; all sums are exact."""
    call_on_workers(_convolve_binary_levels, workers, (workers, padded, offsets, size, at_once, epilogue))


@compiled
def _convolve_binary_levels(worker, workers, padded, offsets, size, at_once, epilogue):
    rows, lanes, taps = TABLE_ROWS, INT16_LANES, size * size
    across, tiles = tiling(epilogue, rows, lanes)
    outputs, groups = epilogue.scale.size, padded.shape[0] // CHANNELS
    tables = _room_for_tables(at_once, size)
    sums = np.empty((outputs * rows + 1) * lanes, np.int32)
    base = (-sums.ctypes.data % VECTOR_BYTES) // 4
    for index in range(worker * tiles // workers, (worker + 1) * tiles // workers):
        top, left = index // across * rows, index % across * lanes
        sums[:] = 0
        for group in range(0, groups, at_once):
            together = min(at_once, groups - group)
            aligned = _build_tables(padded, group, together, top, left, size, tables)
            of_groups, of_output = offsets.ctypes.data + 4 * group * outputs * taps, together * taps
            for start in range(0, of_output, SAFE_LOOK_UPS):
                count = min(SAFE_LOOK_UPS, of_output - start)
                place = of_groups + 4 * start
                _add_look_ups_int16(sums.ctypes.data + 4 * base, aligned, place, outputs, count, of_output)
        finish(sums, base, 0, outputs, top, left, rows, lanes, epilogue)
