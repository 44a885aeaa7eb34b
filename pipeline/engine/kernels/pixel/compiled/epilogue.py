"""The epilogue of a convolution: scale, bias, PReLU, skip, and rounding for the next layer."""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg,var-annotated"

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from pipeline.engine.kernels.emit import FLOAT, I16, I32, I64, at, chosen, constant, emit_loop, splat
from pipeline.engine.kernels.parallel import compiled
from pipeline.engine.kernels.pixel.compiled.vectors import FLOAT_LANES, VECTOR_BYTES

Array = NDArray[np.float32]

# Adding this to a number between ±2²² rounds it to an integer, halves to even, and leaves it in the sum's lowest bits.
ROUNDING = 1.5 * 2**23


class EpilogueArguments(NamedTuple):
    """The arguments of the epilogue: its parameters, and the images that it reads and writes.

    Attributes
    ----------
    scale, bias, slope : float32, shape (O,)
        See `pipeline.engine.epilogue.Epilogue`.
    residual : float32, shape of `out`
        The image that ``residual_scale`` times the result is added to; empty for none.
    residual_scale : float32
    shuffle : int
        Factor of the pixel shuffle; 1 for none.
    height, width : int
        Size of the image before the pixel shuffle.
    out : float32, shape (O / shuffle², shuffle·height, shuffle·width)
        Written; empty if no layer reads it.
    quantized : int16, shape (at least O, at least height + 2 halo, at least width + 2 halo)
        Also written, for the next layer, as by `pad_quantized`; empty for none, and with a pixel shuffle.
    halo : int
    inverse_step : float32
        Inverse of the next layer's step.
    lowest, highest : float32
        The range that levels are clipped to.
    """

    scale: Array
    bias: Array
    slope: Array
    residual: Array
    residual_scale: np.float32
    shuffle: int
    height: int
    width: int
    out: Array
    quantized: NDArray[np.int16]
    halo: int
    inverse_step: np.float32
    lowest: np.float32
    highest: np.float32


@compiled
def tiling(epilogue, rows, columns):
    """Return the number of tiles across, and in all."""
    across = -(-epilogue.width // columns)
    return across, across * -(-epilogue.height // rows)


@compiled
def first_aligned(array, alignment=VECTOR_BYTES):
    """Return the first address in an array that is a multiple of `alignment`, by default of a vector's bytes."""
    return array.ctypes.data + -array.ctypes.data % alignment


def _emit_finish_rows(element, builder, start, rows, vectors, numbers, rest, out, out_levels):
    """Emit the epilogue for rows of sums, each of whole vectors; see `_finish_rows`."""
    scale, bias, slope, residual_scale, inverse_step, low, high = (
        splat(builder, number, FLOAT_LANES) for number in numbers
    )
    floats, words, halves = (ir.VectorType(kind, FLOAT_LANES) for kind in (FLOAT, I32, I16))
    zero, rounding = (ir.Constant(floats, [number] * FLOAT_LANES) for number in (0.0, ROUNDING))

    def row(y, _):
        sums, source, values, levels = (
            builder.add(first, builder.mul(y, pitch))
            for first, pitch in ((start, builder.mul(vectors, constant(VECTOR_BYTES))), rest, out, out_levels)
        )

        def vector(x, _):
            offset = builder.mul(x, constant(VECTOR_BYTES))
            value = builder.load(at(builder, builder.add(sums, offset), ir.VectorType(element, FLOAT_LANES)), align=4)
            if element is not FLOAT:
                value = builder.sitofp(value, floats)
            value = builder.fadd(builder.fmul(scale, value), bias)
            value = builder.select(builder.fcmp_ordered(">", value, zero), value, builder.fmul(slope, value))
            result = cgutils.alloca_once_value(builder, value)
            with builder.if_then(cgutils.is_not_null(builder, rest[0])):
                added = builder.load(at(builder, builder.add(source, offset), floats), align=4)
                builder.store(builder.fadd(added, builder.fmul(residual_scale, value)), result)
            value = builder.load(result)
            with builder.if_then(cgutils.is_not_null(builder, out[0])):
                builder.store(value, at(builder, builder.add(values, offset), floats), align=4)
            with builder.if_then(cgutils.is_not_null(builder, out_levels[0])):
                level = builder.fmul(value, inverse_step)
                level = builder.select(builder.fcmp_ordered(">", level, low), level, low)
                level = builder.select(builder.fcmp_ordered("<", level, high), level, high)
                level = builder.trunc(builder.bitcast(builder.fadd(level, rounding), words), halves)
                place = builder.add(levels, builder.mul(x, constant(VECTOR_BYTES // 2)))
                builder.store(level, at(builder, place, halves), align=2)
            return []

        emit_loop(builder, vectors, [], vector)
        return []

    emit_loop(builder, rows, [], row)


@intrinsic
def _finish_rows(typingctx, sums, source, rows, vectors, parameters, residual, values, levels):
    """Run the epilogue for rows of whole vectors of one output channel.

    Parameters
    ----------
    sums : int32 or float32 array
    source : int64
        The element of `sums` from which on there are the sums of the rows, one after another.
    rows, vectors : int64
        The number of rows, and of vectors in a row; at least 1.
    parameters : tuple of float32
        Scale, bias, slope, residual scale, inverse step, and the range that levels are clipped to.
    residual, values, levels : tuple of int64
        Address of the first pixel to add, or of where results go, 0 for none; and bytes from row to row.
    """

    def codegen(context, builder, signature, arguments):
        array, source, rows, vectors, parameters, *images = arguments
        data = context.make_array(sums)(context, builder, array).data
        start = builder.add(builder.ptrtoint(data, I64), builder.mul(source, constant(4)))
        numbers, *images = (cgutils.unpack_tuple(builder, several) for several in (parameters, *images))
        _emit_finish_rows(context.get_value_type(sums.dtype), builder, start, rows, vectors, numbers, *images)
        return context.get_dummy_value()

    number, image = types.UniTuple(types.float32, 7), types.UniTuple(types.int64, 2)
    return types.void(sums, types.int64, types.int64, types.int64, number, image, image, image), codegen


@intrinsic
def _interleave(typingctx, source, pitch, target, vectors):
    """Store the values of two rows, `pitch` bytes apart, in turns; addresses and numbers are int64."""

    def codegen(context, builder, signature, arguments):
        source, pitch, target, vectors = arguments
        kind = ir.VectorType(FLOAT, FLOAT_LANES)
        lanes = [lane for i in range(FLOAT_LANES) for lane in (i, i + FLOAT_LANES)]

        def vector(x, _):
            offset = builder.mul(x, constant(VECTOR_BYTES))
            first = builder.add(source, offset)
            one, other = (builder.load(at(builder, row, kind), align=4) for row in (first, builder.add(first, pitch)))
            for part in range(2):
                joined = chosen(builder, one, other, lanes[part * FLOAT_LANES : (part + 1) * FLOAT_LANES])
                place = builder.add(builder.add(target, offset), offset)
                builder.store(joined, at(builder, place, kind, part * VECTOR_BYTES), align=4)
            return []

        emit_loop(builder, vectors, [], vector)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


@compiled
def _address(array, element):
    return np.int64(array.ctypes.data) + element * array.itemsize


@compiled
def finish(sums, base, first, last, top, left, rows, lanes, epilogue):
    """Run the epilogue for the output channels first..last-1 of a tile, whose sums begin at `base`.

    Where a tile reaches beyond the image, or pixels are shuffled, rows pass through buffers: two channels together
    where they take turns in the rows of the output, else row by row.
    """
    height, width, shuffle, halo = epilogue.height, epilogue.width, epilogue.shuffle, epilogue.halo
    tile_rows, columns, vectors = min(rows, height - top), min(lanes, width - left), lanes // FLOAT_LANES
    written, rest, levels = epilogue.out.reshape(-1), epilogue.residual.reshape(-1), epilogue.quantized.reshape(-1)
    _, plane_rows, pitch = epilogue.quantized.shape
    buffers = np.zeros((2 * rows + 2) * lanes, np.float32)  # of two channels; to add; and for levels
    values, added = buffers[: 2 * rows * lanes], buffers[2 * rows * lanes : (2 * rows + 1) * lanes]
    rounded = buffers[(2 * rows + 1) * lanes :].view(np.int16)
    none, direct, wide = (np.int64(0), np.int64(0)), columns == lanes and shuffle == 1, 4 * width
    in_pairs = columns == lanes and shuffle == 2 and not rest.size and not levels.size
    for o in range(first, last):
        parameters = (
            epilogue.scale[o], epilogue.bias[o], epilogue.slope[o], epilogue.residual_scale,
            epilogue.inverse_step, epilogue.lowest, epilogue.highest,
        )  # fmt: skip
        source = base + (o - first) * rows * lanes
        target = (o * height + top) * width + left
        place = (o * plane_rows + halo + top) * pitch + halo + left
        if direct:
            _finish_rows(
                sums, source, tile_rows, vectors, parameters,
                (_address(rest, target), wide) if rest.size else none,
                (_address(written, target), wide) if written.size else none,
                (_address(levels, place), 2 * pitch) if levels.size else none,
            )  # fmt: skip
            continue
        channel, phase = divmod(o, shuffle * shuffle)
        down, right = divmod(phase, shuffle)
        if in_pairs and first <= o - right and o - right + 1 < last:
            half = _address(values, right * rows * lanes)
            _finish_rows(sums, source, tile_rows, vectors, parameters, none, (half, 4 * lanes), none)
            for row in range(tile_rows if right else 0):
                target = ((channel * height + top + row) * 2 + down) * 2 * width + 2 * left
                _interleave(_address(values, row * lanes), 4 * rows * lanes, _address(written, target), vectors)
            continue
        for row in range(tile_rows):
            y = (channel * height + top + row) * shuffle + down
            target, stride = np.uint64((y * width + left) * shuffle + right), np.uint64(shuffle)
            if rest.size:
                for i in range(np.uint64(columns)):  # unsigned, or Numba looks for negative indices
                    added[i] = rest[target + i * stride]
            _finish_rows(
                sums, source + row * lanes, 1, vectors, parameters,
                (_address(added, 0), wide) if rest.size else none,
                (_address(values, 0), wide) if written.size else none,
                (_address(rounded, 0), wide) if levels.size else none,
            )  # fmt: skip
            if written.size:
                for i in range(np.uint64(columns)):
                    written[target + i * stride] = values[i]
            if levels.size:
                first_level = np.uint64(place + row * pitch)
                for i in range(np.uint64(columns)):
                    levels[first_level + i] = rounded[i]
