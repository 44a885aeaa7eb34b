"""Matrix products of tiles (AMX)."""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg,var-annotated"

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from pipeline.engine.kernels.channel.compiled.epilogue import Array, EpilogueArguments, finish_block
from pipeline.engine.kernels.channel.compiled.vectors import LANES, V32, VECTOR_BYTES, VF, Bfloat16, load
from pipeline.engine.kernels.emit import FLOAT, I8, I16, I32, I64, at, constant, emit_loop, take
from pipeline.engine.kernels.parallel import call_on_workers, compiled

TILE_ROWS = 16  # of a tile register, 64 bytes each


def _tile_configuration() -> NDArray[np.uint8]:
    """Return the configuration of eight tile registers of 16 rows of 64 bytes, as ldtilecfg reads it."""
    configuration = np.zeros(64, np.uint8)
    configuration[0] = 1  # palette
    configuration[16:32:2] = VECTOR_BYTES
    configuration[48:56] = TILE_ROWS
    return configuration


TILE_CONFIGURATION = _tile_configuration()


def _emit_tile(builder: Any, name: str, *arguments: Any) -> None:
    """Emit an instruction of AMX; tile registers are numbers, which LLVM takes as constants."""
    values = [ir.Constant(I8, value) if isinstance(value, int) else value for value in arguments]
    kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), values)


@intrinsic
def configure_tiles(typingctx, configuration):
    """Give this thread tile registers, as the 64 bytes at an address describe them."""

    def codegen(context, builder, signature, arguments):
        _emit_tile(builder, "ldtilecfg", at(builder, arguments[0], I8))
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def release_tiles(typingctx):
    """Clear this thread's tile registers, so that the system need not save them."""

    def codegen(context, builder, signature, arguments):
        _emit_tile(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), codegen


# The products of parts that make one of two numbers, as (part of the weight, parts of the pixel), by their count: of
# numbers that are not split; of a pixel in three parts with a weight of one; of both in three, without those products
# that are less than a rounding of float32.
_PRODUCTS = {1: ((0, (0,)),), 3: ((0, (0, 1, 2)),), 6: ((0, (0, 1, 2)), (1, (0, 1)), (2, (0,)))}


@intrinsic
def multiply_tiles(
    typingctx, like, products, groups, vectors, source, stride, plane_stride, offsets, weights, count, initial, sums,
    sums_stride,
):  # fmt: skip
    """Store the sums of groups of 16 pixels × vectors of 16 outputs: those at `initial` plus `count` steps.

    A step multiplies 64 bytes from each pixel with as many weights of each output; parts of pixels lie in planes. The
    tile registers 0 to 3 hold the sums, 4 and 5 the pixels, 6 and 7 the weights.
    """
    pixel_tiles, vector_tiles = range(groups.count), range(vectors.count)
    product = {types.int8: "tdpbusd", types.int16: "tdpbf16ps"}[like.dtype]
    parts, size = _PRODUCTS[products.count], TILE_ROWS * VECTOR_BYTES

    def codegen(context, builder, signature, arguments):
        source, stride, plane_stride, offsets, weights, count, initial, sums, sums_stride = arguments[4:]

        def total(group: int, v: int) -> int:
            return group * len(vector_tiles) + v

        for group in pixel_tiles:
            for v in vector_tiles:
                start = at(builder, initial, I8, VECTOR_BYTES * v)
                _emit_tile(builder, "tileloadd64", total(group, v), start, constant(0))  # the same for all pixels
        with cgutils.for_range(builder, count) as step:
            offset = load(builder, builder.add(offsets, builder.mul(step.index, constant(8))), I64, align=8)
            pixel = builder.add(source, offset)
            step_bytes = constant(len(parts) * len(vector_tiles) * size)
            weight = builder.add(weights, builder.mul(step.index, step_bytes))
            for part, pixel_parts in parts:
                for number, pixel_part in enumerate(pixel_parts):
                    plane = builder.add(pixel, builder.mul(plane_stride, constant(pixel_part)))
                    for group in pixel_tiles:
                        first = builder.add(plane, builder.mul(stride, constant(TILE_ROWS * group)))
                        _emit_tile(builder, "tileloadd64", 4 + group, at(builder, first, I8), stride)
                        for v in vector_tiles:
                            if number == group == 0:
                                place = at(builder, weight, I8, (part * len(vector_tiles) + v) * size)
                                _emit_tile(builder, "tileloadd64", 6 + v, place, constant(VECTOR_BYTES))
                            _emit_tile(builder, product, total(group, v), 4 + group, 6 + v)
        for group in pixel_tiles:
            first = builder.add(sums, builder.mul(sums_stride, constant(TILE_ROWS * group)))
            for v in vector_tiles:
                place = at(builder, first, I8, VECTOR_BYTES * v)
                _emit_tile(builder, "tilestored64", total(group, v), place, sums_stride)
        return context.get_dummy_value()

    return types.void(like, products, groups, vectors, *[types.int64] * 9), codegen


@intrinsic
def _add_shifted(typingctx, like, sums, stride, shift, taps, pixels, initial, target, target_stride):
    """For each pixel, add up four neighbouring sums from each of `taps` pixels, `shift` bytes from one to the next.

    Parameters are addresses, byte strides and counts. Results are by output, `target_stride` bytes apart.
    """
    kind = ir.VectorType(I32 if like.dtype == types.int32 else FLOAT, 4)

    def codegen(context, builder, signature, arguments):
        _, sums, stride, shift, taps, pixels, initial, target, target_stride = arguments
        add = builder.add if kind.element is I32 else builder.fadd
        first = load(builder, initial, kind, align=4)
        with cgutils.for_range(builder, pixels) as pixel:
            place = builder.add(sums, builder.mul(pixel.index, stride))

            def step(tap: Any, total: list[Any], place: Any = place) -> list[Any]:
                return [add(total[0], load(builder, builder.add(place, builder.mul(tap, shift)), kind, align=4))]

            (total,) = emit_loop(builder, taps, [first], step)
            first_result = builder.add(target, builder.mul(pixel.index, constant(4)))
            for o in range(kind.count):
                result = builder.add(first_result, builder.mul(target_stride, constant(o)))
                value = builder.extract_element(total, ir.Constant(I32, o))
                builder.store(value, at(builder, result, kind.element), align=4)
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 8), codegen


@intrinsic
def _split(typingctx, source, target, stride):
    """Split 16 float32 into three times 16 bfloat16 with the same sums, `stride` bytes apart."""
    kind = ir.VectorType(Bfloat16(), LANES)

    def codegen(context, builder, signature, arguments):
        start, first, step = arguments
        rest = load(builder, start, VF, align=4)
        for part in range(3):
            rounded = builder.fptrunc(rest, kind)
            builder.store(rounded, at(builder, builder.add(first, builder.mul(step, constant(part))), kind), align=2)
            bits = builder.zext(builder.bitcast(rounded, ir.VectorType(I16, LANES)), V32)
            upper = builder.shl(bits, ir.Constant(V32, [16] * LANES))
            rest = builder.fsub(rest, builder.bitcast(upper, VF))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), codegen


@compiled
def convolve_tiles(
    image: NDArray, halo: int, weights: NDArray, size: int, vectors: tuple, products: tuple, few: int,
    configuration: NDArray[np.uint8], epilogue: EpilogueArguments, planes: Array, parts: NDArray[np.int16], strip: int,
    sums: NDArray, rows: int, counter: NDArray[np.int64],
) -> None:  # fmt: skip
    """Convolve by matrix products of tiles (AMX).

    Numbers in float32 are split into three in bfloat16 with the same sum, except for what is below about 1e-38. Of the
    nine products of two such numbers, three are left out: those below about 2⁻²⁶ of the whole.

    Parameters are those of `convolve`, except

    image : uint8, int16 (bits of bfloat16) or float32, shape (rows, columns, channels)
        In float32 a multiple of 16 channels.
    weights : int8 or int16, shape (blocks, steps, parts, V, 16, 64 or 32)
        For each block of V vectors of outputs, each step and each part, the weights of 64 bytes from the pixels: 16
        times those of four bytes for 16 outputs. A row of a filter reads contiguous bytes, those of neighbouring
        pixels; steps are in the order (row, 64 bytes). With few filters, each of their columns is an output of its own,
        in the order (column, output), and reads the channels of one pixel.
    products : tuple of int
        Its length is the number of products of parts: 1 if the image is not float32, 3 for weights that are exact in
        bfloat16, 6 for others.
    few : int
        The number of filters if each of their columns is an output, otherwise 0.
    configuration : uint8, shape (64,)
        `TILE_CONFIGURATION`.
    planes : float32, shape (few, height, width)
        The output of few filters; if empty, ``epilogue.out`` is written instead.
    parts : int16, shape (workers, 3 · size · (strip + size + 32) · channels), aligned
        Scratch memory for the parts of ``size`` rows of a strip; nothing per worker if there is one product.
    strip : int
        Columns per call of the epilogue, a multiple of 32.
    sums : int32 or float32, shape (workers, at least (strip + 64) · 16 · V + 4 · strip), aligned
        Scratch memory.
    rows : int
        Rows of a strip that a worker takes at a time; ``size - 1`` more are split.
    """
    counter[0] = 0
    arguments = (
        image, halo, weights, size, vectors, products, few, configuration, epilogue, planes, parts, strip, sums,
        rows, counter,
    )  # fmt: skip
    call_on_workers(_convolve_tiles, len(sums), arguments)


@compiled
def _convolve_tiles(
    worker, image, halo, weights, size, vectors, products, few, configuration, epilogue, planes, parts, strip, sums,
    rows, counter,
):  # fmt: skip
    parts, sums = parts[worker], sums[worker]
    blocks, steps = weights.shape[:2]
    _, columns, channels = image.shape
    splits, outputs = len(products) > 1, LANES * len(vectors)
    pixel_bytes = (2 if splits else image.itemsize) * channels
    row_bytes = (strip + size + 32 if splits else columns) * pixel_bytes
    turns = size if splits else 1  # the parts of rows are in a ring buffer: by the position of the first row
    offsets = np.empty((turns, steps), np.int64)
    for turn in range(turns):
        for step in range(steps):
            row, part = step // (steps // size), step % (steps // size)
            offsets[turn, step] = ((turn + row) % size) * row_bytes + VECTOR_BYTES * part
    margin, values = halo - size // 2, np.empty(strip, np.float32)
    none = np.zeros(outputs, sums.dtype)
    strips, bands = -(-epilogue.width // strip), -(-epilogue.height // rows)
    configure_tiles(configuration.ctypes.data)
    taken = take(counter.ctypes.data)
    while taken < strips * bands:
        left, top = taken // bands * strip, taken % bands * rows
        bottom, count = min(top + rows, epilogue.height), min(strip, epilogue.width - left)
        first_row = image.ctypes.data + image.itemsize * ((margin + top) * columns + margin + left) * channels
        for row in range(top if splits else top + size - 1, bottom + size - 1):
            source = first_row + image.itemsize * (row - top) * columns * channels
            y = row - size + 1
            if splits:
                target = parts.ctypes.data + row % size * row_bytes
                for column in range(count + size - 1):
                    for channel in range(0, channels, LANES):
                        _split(
                            source + 4 * (column * channels + channel), target + column * pixel_bytes + 2 * channel,
                            size * row_bytes,
                        )  # fmt: skip
                if y < top:
                    continue
                source = parts.ctypes.data
            else:
                source -= (size - 1) * row_bytes
            starts = offsets[y % turns]
            if few > 0:
                _multiply_row(
                    weights, 0, products, vectors, source, pixel_bytes, size * row_bytes, count + size - 1, starts,
                    none.ctypes.data, sums.ctypes.data,
                )  # fmt: skip
                _finish_few(
                    sums, (strip + 64) * outputs, strip, few, outputs, size, y, left, count, values, epilogue, planes
                )
                continue
            for block in range(blocks):
                _multiply_row(
                    weights, block, products, vectors, source, pixel_bytes, size * row_bytes, count, starts,
                    epilogue.initial.ctypes.data + 4 * block * outputs, sums.ctypes.data,
                )  # fmt: skip
                finish_block(sums, sums.ctypes.data, 4 * outputs, block, outputs, y, left, count, epilogue)
        taken = take(counter.ctypes.data)
    release_tiles()


@compiled
def _multiply_row(weights, block, products, vectors, source, pixel_bytes, plane_bytes, pixels, offsets, initial, sums):
    """Store the sums of neighbouring pixels for the outputs of a block; source and targets are addresses."""
    steps, sums_bytes = len(offsets), VECTOR_BYTES * len(vectors)
    block_weights = weights.ctypes.data + block * steps * weights.shape[2] * TILE_ROWS * sums_bytes
    for x in range(0, pixels, 2 * TILE_ROWS):
        if pixels - x > TILE_ROWS:
            multiply_tiles(
                weights, products, (1, 1), vectors, source + x * pixel_bytes, pixel_bytes, plane_bytes,
                offsets.ctypes.data, block_weights, steps, initial, sums + x * sums_bytes, sums_bytes,
            )  # fmt: skip
        else:
            multiply_tiles(
                weights, products, (1,), vectors, source + x * pixel_bytes, pixel_bytes, plane_bytes,
                offsets.ctypes.data, block_weights, steps, initial, sums + x * sums_bytes, sums_bytes,
            )  # fmt: skip


@compiled
def _finish_few(sums, added, strip, few, outputs, size, y, left, count, values, epilogue, planes):
    """Add up the columns of few filters, from `added` on in `sums`, and run the epilogue."""
    zero = np.float32(0)
    _add_shifted(
        sums, sums.ctypes.data, 4 * outputs, 4 * (outputs + few), size, count, epilogue.initial.ctypes.data,
        sums.ctypes.data + 4 * added, 4 * strip,
    )  # fmt: skip
    for o in range(few):
        scale, bias, slope = epilogue.scale[o], epilogue.bias[o], epilogue.slope[o]
        first = added + o * strip
        for x in range(count):
            value = scale * np.float32(sums[first + x]) + bias
            values[x] = value if value > zero else slope * value
        if epilogue.residual.size:
            row, column = epilogue.residual_halo + y, epilogue.residual_halo + left
            for x in range(count):
                values[x] = epilogue.residual[row, column + x, o] + epilogue.numbers[0] * values[x]
        if planes.size:  # loops, since for a slice Numba also compiles the text of an error, which takes seconds
            for x in range(count):
                planes[o, y, left + x] = values[x]
        else:
            row, column = epilogue.out_halo + y, epilogue.out_halo + left
            for x in range(count):
                epilogue.out[row, column + x, o] = values[x]
