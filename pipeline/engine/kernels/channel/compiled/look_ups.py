"""Binary filters by table look-up, with tables in registers."""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg,var-annotated"

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from pipeline.engine.kernels.channel.compiled.accumulation import accumulate
from pipeline.engine.kernels.channel.compiled.epilogue import EpilogueArguments, finish_block
from pipeline.engine.kernels.channel.compiled.vectors import (
    LANES,
    V8,
    V16,
    V32,
    VECTOR_BYTES,
    VF,
    dot_bytes,
    load,
    multiply_add,
    splat,
)
from pipeline.engine.kernels.emit import FLOAT, I16, I32, at, call, chosen, constant, take
from pipeline.engine.kernels.parallel import call_on_workers, compiled

# Look-ups before an int16 sum can overflow: four channels are within ±128 of the middle, the fifth within 0..255.
SAFE_LOOK_UPS = 32767 // (4 * 128 + 255)


def _table_uint32(builder: Any, pixel: Any, constants: list[Any], table: Any) -> None:
    """Store the 32 signed sums of five channels: those of four channels, minus and plus the fifth."""
    x = [splat(builder, load(builder, pixel, FLOAT, 4 * channel, align=4)) for channel in range(5)]
    total = builder.fmul(x[0], constants[0])
    for channel in range(1, 4):
        total = multiply_add(builder, x[channel], constants[channel], total)
    fifth = builder.fmul(x[4], constants[4])
    builder.store(builder.fsub(total, fifth), at(builder, table, VF), align=VECTOR_BYTES)
    builder.store(builder.fadd(total, fifth), at(builder, table, VF, VECTOR_BYTES), align=VECTOR_BYTES)


def _table_uint16(builder: Any, pixel: Any, constants: list[Any], table: Any) -> None:
    """Store a table of int16 sums: four channels' levels relative to 128; minus and plus the fifth are neighbours."""
    signs, start, fifth = constants
    total = dot_bytes(builder, start, splat(builder, load(builder, pixel, I32, align=1)), signs)
    twice = chosen(builder, builder.bitcast(total, V16), builder.bitcast(total, V16), [2 * (i // 2) for i in range(32)])
    last = builder.bitcast(splat(builder, load(builder, pixel, I16, 4, align=1)), V8)
    last = call(builder, "llvm.x86.avx512.pmaddubs.w.512", V16, last, fifth)
    builder.store(builder.add(twice, last), at(builder, table, V16), align=VECTOR_BYTES)


def _table_uint8(builder: Any, pixel: Any, constants: list[Any], table: Any) -> None:
    """Store the 16 sums of each of four groups of four channels: of levels for sign +1, of 63 minus level for -1."""
    totals = []
    for group in range(4):
        signs, start = constants[2 * group : 2 * group + 2]
        x = splat(builder, load(builder, pixel, I32, 4 * group, align=1))
        totals.append(dot_bytes(builder, start, x, signs))
    name = "llvm.x86.avx512.packssdw.512"
    low, high = (call(builder, name, V16, totals[i], totals[i + 1]) for i in (0, 2))
    packed = call(builder, "llvm.x86.avx512.packuswb.512", V8, low, high)
    builder.store(packed, at(builder, table, V8), align=VECTOR_BYTES)


# By the type of the indices: the function that emits a table, the types of its constants, its size in bytes.
_TABLES = {
    types.uint32: (_table_uint32, [VF] * 5, 2 * VECTOR_BYTES),
    types.uint16: (_table_uint16, [V8, V32, V8], VECTOR_BYTES),
    types.uint8: (_table_uint8, [V8, V32] * 4, VECTOR_BYTES),
}


@intrinsic
def _build_tables(typingctx, like, source, stride, count, constants, tables):
    """Build the tables of one group of channels for `count` neighbouring pixels, `stride` bytes apart."""
    emit, kinds, size = _TABLES[like.dtype]

    def codegen(context, builder, signature, arguments):
        _, first, pixel_stride, pixels, constants_address, table_address = arguments
        constants = [load(builder, constants_address, kind, VECTOR_BYTES * i) for i, kind in enumerate(kinds)]
        with cgutils.for_range(builder, pixels) as pixel:
            address = builder.add(first, builder.mul(pixel.index, pixel_stride))
            emit(builder, address, constants, builder.add(table_address, builder.mul(pixel.index, constant(size))))
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 5), codegen


@compiled
def convolve_binary(
    image: NDArray, halo: int, indices: NDArray, constants: NDArray[np.uint8], size: int, at_once: int,
    pixels: tuple, vectors: tuple, epilogue: EpilogueArguments, tables: NDArray[np.uint8], strip: int, sums: NDArray,
    rows: int, counter: NDArray[np.int64],
) -> None:  # fmt: skip
    """Convolve with binary filters by table look-up.

    Parameters are those of `convolve`, except

    indices : uint32, uint16 or uint8, shape (blocks, steps, V, bytes of a register / its size)
        See `pipeline.engine.kernels.channel.tables`; steps are in the order (group of channels, row, column).
    constants : uint8, shape (groups, bytes)
        Constants that the tables of each group are built with.
    at_once : int
        Steps per pass over a strip; few enough that sums cannot overflow.
    tables : uint8, shape (workers, bytes), aligned
        Scratch memory for the tables of ``size`` rows of a strip.
    strip : int
        Also the columns whose tables are kept at a time.
    rows : int
        Rows of a strip that a worker takes at a time; tables are built for ``size - 1`` more.
    """
    counter[0] = 0
    arguments = (
        image, halo, indices, constants, size, at_once, pixels, vectors, epilogue, tables, strip, sums, rows,
        counter,
    )  # fmt: skip
    call_on_workers(_convolve_binary, len(sums), arguments)


@compiled
def _convolve_binary(
    worker, image, halo, indices, constants, size, at_once, pixels, vectors, epilogue, tables, strip, sums, rows,
    counter,
):  # fmt: skip
    tables, sums = tables[worker], sums[worker]
    blocks, steps = indices.shape[:2]
    _, columns, channels = image.shape
    item, outputs = image.itemsize, (2 if indices.itemsize == 2 else 1) * LANES * len(vectors)
    groups, constant_bytes = constants.shape
    table_bytes = 128 if indices.itemsize == 4 else 64
    group_bytes = item * (16 if indices.itemsize == 1 else 5)
    wide = strip + size - 1
    row_bytes = groups * wide * table_bytes
    offsets = np.empty((size, steps), np.int64)  # a ring buffer of table rows: by the position of the first row
    for turn in range(size):
        for step in range(steps):
            group, row, column = step // (size * size), step // size % size, step % size
            offsets[turn, step] = (turn + row) % size * row_bytes + (group * wide + column) * table_bytes
    margin = halo - size // 2
    strips, bands = -(-epilogue.width // strip), -(-epilogue.height // rows)
    part = take(counter.ctypes.data)
    while part < strips * bands:
        left, top = part // bands * strip, part % bands * rows
        bottom = min(top + rows, epilogue.height)
        columns_read = min(strip, -(-(epilogue.width - left) // len(pixels)) * len(pixels)) + size - 1
        for row in range(top, bottom + size - 1):
            source = image.ctypes.data + item * (((margin + row) * columns + margin + left) * channels)
            for group in range(groups):
                _build_tables(
                    indices, source + group * group_bytes, item * channels, columns_read,
                    constants.ctypes.data + group * constant_bytes,
                    tables.ctypes.data + row % size * row_bytes + group * wide * table_bytes,
                )  # fmt: skip
            y = row - size + 1
            if y < top:
                continue
            # Some steps for the whole strip before the next ones, so that their weights stay in the first-level cache.
            stop = min(left + strip, epilogue.width)
            for step in range(0, steps, at_once):
                for x in range(left, stop, len(pixels)):
                    for block in range(blocks):
                        block_indices = indices.ctypes.data + (block * steps + step) * VECTOR_BYTES * len(vectors)
                        place = sums.ctypes.data + 4 * outputs * (block * strip + x - left)
                        initial, initial_stride = epilogue.initial.ctypes.data + 4 * block * outputs, 0
                        if step > 0:
                            initial, initial_stride = place, 4 * outputs
                        accumulate(
                            indices, pixels, vectors, tables.ctypes.data + (x - left) * table_bytes, 0,
                            offsets.ctypes.data + 8 * (y % size * steps + step), block_indices,
                            min(at_once, steps - step), initial, initial_stride, place,
                        )  # fmt: skip
            for block in range(blocks):
                place = sums.ctypes.data + 4 * outputs * block * strip
                finish_block(sums, place, 4 * outputs, block, outputs, y, left, stop - left, epilogue)
        part = take(counter.ctypes.data)
