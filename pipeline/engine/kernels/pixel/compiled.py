"""The compiled kernels for any processor: lanes are pixels, and tables are in the first-level cache.

A padded image is convolved tile by tile, including the epilogue.
A tile is one vector wide and a few rows high. Its accumulators stay in registers while a microkernel loops over a list
of positions to read from:

- table look-up: ``sums[row] += table[position + row]``, one vector load and one addition for 4 multiply-adds per lane;
- float: ``sums[output, row] += weights[output] * image[position + row]``;
- levels with int8 filters: the same for two channels at once, whose products one instruction adds up in int32.

With filters of 3×3 taps, the last two multiply blocks of 2×2 pixels after Winograd's transform, which takes 16 products
instead of 36.

Microkernels are emitted as LLVM vector code, which LLVM lowers to the processor's instructions. Results do not depend
on the number of threads: the sums of a pixel are always added in the same order.
"""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg"

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from pipeline.engine.kernels.instructions import instructions
from pipeline.engine.kernels.parallel import call_on_workers, compiled

CHANNELS = 4  # channels of one table
SUMS = 1 << CHANNELS  # their signed sums

# A vector of AVX-512 if the processor has it, else of AVX2; LLVM splits it for processors with shorter vectors.
VECTOR_BYTES = 64 if "avx512bw" in instructions() else 32
FLOAT_LANES, INT16_LANES = VECTOR_BYTES // 4, VECTOR_BYTES // 2

# Rows of a tile for table look-up, with one accumulator each. The table of one channel group for 3×3 filters has
# 3 shifts × 16 sums × 10 rows of one vector: 30 KiB for AVX-512 and 15 KiB for AVX2, within a first-level cache.
TABLE_ROWS = 8

# The block of the float convolution: rows × outputs accumulators and the rows just read fill the 32 registers of
# AVX-512, or the 16 of AVX2. From about 4 outputs on, arithmetic hides the loads.
FLOAT_ROWS, FLOAT_OUTPUTS = (6, 4) if VECTOR_BYTES == 64 else (3, 4)

# Of levels, whose products need a register before they are added.
PAIR_OUTPUTS = 3

# Outputs of Winograd's algorithm that are transformed back together: their products stay in the second-level cache.
WINOGRAD_OUTPUTS = 2 * FLOAT_OUTPUTS * PAIR_OUTPUTS

# The instruction that multiplies pairs: `vpmaddwd`.
MULTIPLY_PAIRS = None
if VECTOR_BYTES == 64:
    MULTIPLY_PAIRS = "llvm.x86.avx512.pmaddw.d.512"
elif "avx2" in instructions():
    MULTIPLY_PAIRS = "llvm.x86.avx2.pmadd.wd"

# Look-ups before an int16 sum can overflow: each is a signed sum of 4 levels within ±255.
SAFE_LOOK_UPS = 32767 // (CHANNELS * 255)

Array = NDArray[np.float32]


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


_I32, _I64 = ir.IntType(32), ir.IntType(64)
_FLOAT, _INT16 = ir.FloatType(), ir.IntType(16)


def _constant(value: int) -> ir.Constant:
    return ir.Constant(_I64, value)


def _at(builder: Any, address: Any, kind: Any, offset: int = 0) -> Any:
    """Return a pointer to `kind`, `offset` bytes after an integer address."""
    return builder.inttoptr(builder.add(address, _constant(offset)), ir.PointerType(kind))


def _emit_loop(builder: Any, count: Any, sums: list[Any], step: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
    """Emit a loop of `count` (at least 1) steps; `sums` are the initial accumulators, which stay in registers."""
    before, body = builder.block, builder.function.append_basic_block("loop")
    after = builder.function.append_basic_block("loop_end")
    builder.branch(body)
    builder.position_at_end(body)
    index = builder.phi(_I64)
    index.add_incoming(_constant(0), before)
    accumulators = [builder.phi(value.type) for value in sums]
    for phi, value in zip(accumulators, sums, strict=True):
        phi.add_incoming(value, before)
    updated = step(index, accumulators)
    next_index = builder.add(index, _constant(1))
    index.add_incoming(next_index, body)
    for phi, value in zip(accumulators, updated, strict=True):
        phi.add_incoming(value, body)
    builder.cbranch(builder.icmp_signed("<", next_index, count), body, after)
    builder.position_at_end(after)
    return updated


def _emit_build_table(element: Any, builder: Any, arguments: Any) -> None:
    """Store the signed sums of four channels around a tile for every horizontal shift, so that look-ups are aligned."""
    source, channel_stride, row_stride, table, size, rows = arguments
    vector = ir.VectorType(element, VECTOR_BYTES // (2 if element is _INT16 else 4))
    if element is _FLOAT:
        add, sub, neg = builder.fadd, builder.fsub, builder.fneg
    else:
        add, sub, neg = builder.add, builder.sub, builder.neg
    sum_stride = builder.mul(rows, _constant(VECTOR_BYTES))
    with cgutils.for_range(builder, size) as shift, cgutils.for_range(builder, rows) as row:
        start = builder.add(source, builder.mul(shift.index, _constant(2 if element is _INT16 else 4)))
        start = builder.add(start, builder.mul(row.index, row_stride))
        a, b, c, d = (
            builder.load(_at(builder, builder.add(start, builder.mul(channel_stride, _constant(i))), vector), align=2)
            for i in range(CHANNELS)
        )
        ab, cd = add(a, b), add(c, d)
        low = [neg(ab), sub(a, b), sub(b, a), ab]
        high = [neg(cd), sub(c, d), sub(d, c), cd]
        target = builder.mul(builder.mul(shift.index, _constant(SUMS)), sum_stride)
        target = builder.add(builder.add(table, target), builder.mul(row.index, _constant(VECTOR_BYTES)))
        for i in range(SUMS):
            place = builder.add(target, builder.mul(sum_stride, _constant(i)))
            builder.store(add(low[i & 3], high[i >> 2]), _at(builder, place, vector), align=VECTOR_BYTES)


def _emit_add_look_ups(element: Any, builder: Any, arguments: Any) -> None:
    """Add `count` look-ups to the sums of each output; an output's byte offsets into the table are `stride` apart."""
    sums, table, offsets, outputs, count, stride = arguments
    vector = ir.VectorType(element, VECTOR_BYTES // (2 if element is _INT16 else 4))
    add = builder.fadd if element is _FLOAT else builder.add
    with cgutils.for_range(builder, outputs) as output:
        place = builder.add(sums, builder.mul(output.index, _constant(TABLE_ROWS * VECTOR_BYTES)))
        first = builder.add(offsets, builder.mul(builder.mul(output.index, stride), _constant(4)))
        places = [_at(builder, place, vector, VECTOR_BYTES * row) for row in range(TABLE_ROWS)]

        def step(index: Any, accumulators: list[Any], first: Any = first) -> list[Any]:
            offset = builder.load(_at(builder, builder.add(first, builder.mul(index, _constant(4))), _I32))
            start = builder.add(table, builder.zext(offset, _I64))
            return [
                add(value, builder.load(_at(builder, start, vector, VECTOR_BYTES * row), align=VECTOR_BYTES))
                for row, value in enumerate(accumulators)
            ]

        accumulators = _emit_loop(builder, count, [builder.load(p, align=VECTOR_BYTES) for p in places], step)
        for value, p in zip(accumulators, places, strict=True):
            builder.store(value, p, align=VECTOR_BYTES)


def _emit_add_products(element: Any, builder: Any, arguments: Any) -> None:
    """Store the sums of a block of outputs over `count` taps: byte offsets into the image, a weight per output.

    Image and weights are float32, or pairs of int16 channels, whose products are added up in int32.
    """
    image, row_stride, offsets, weights, count, sums = arguments
    floats, outputs = element is _FLOAT, FLOAT_OUTPUTS if element is _FLOAT else PAIR_OUTPUTS
    vector = ir.VectorType(element, FLOAT_LANES)
    inputs_type = vector if floats else ir.VectorType(_INT16, INT16_LANES)
    rows = [builder.add(image, builder.mul(row_stride, _constant(row))) for row in range(FLOAT_ROWS)]

    def step(index: Any, accumulators: list[Any]) -> list[Any]:
        offset = builder.load(_at(builder, builder.add(offsets, builder.mul(index, _constant(8))), _I64))
        inputs = [builder.load(_at(builder, builder.add(row, offset), inputs_type), align=4) for row in rows]
        first = builder.add(weights, builder.mul(index, _constant(4 * outputs)))
        updated = []
        for output in range(outputs):
            weight = builder.load(_at(builder, first, element, 4 * output))
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), weight, ir.Constant(_I32, 0))
            weight = _chosen(builder, one, ir.Constant(vector, ir.Undefined), [0] * FLOAT_LANES)
            for row, value in enumerate(inputs):
                before = accumulators[output * FLOAT_ROWS + row]
                if floats:
                    product = builder.fmul(value, weight, flags=("contract",))
                    updated.append(builder.fadd(before, product, flags=("contract",)))
                else:
                    pairs = builder.bitcast(weight, inputs_type)
                    updated.append(builder.add(before, _multiply_pairs(builder, value, pairs)))
        return updated

    zero = ir.Constant(vector, [0.0 if floats else 0] * FLOAT_LANES)
    accumulators = _emit_loop(builder, count, [zero] * (outputs * FLOAT_ROWS), step)
    for i, value in enumerate(accumulators):
        builder.store(value, _at(builder, sums, vector, VECTOR_BYTES * i), align=VECTOR_BYTES)


def _multiply_pairs(builder: Any, one: Any, other: Any) -> Any:
    """Multiply int16 vectors, and add each product at an even lane to the next one, in int32."""
    vector = ir.VectorType(_I32, FLOAT_LANES)
    if MULTIPLY_PAIRS is not None:  # LLVM does not always recognize what follows as the one instruction that it is
        kind = ir.FunctionType(vector, [one.type, other.type])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, MULTIPLY_PAIRS), [one, other])
    wide = ir.VectorType(_I32, INT16_LANES)
    products = builder.mul(builder.sext(one, wide), builder.sext(other, wide))
    even, odd = (
        builder.shuffle_vector(products, ir.Constant(wide, ir.Undefined), ir.Constant(vector, list(lanes)))
        for lanes in (range(0, INT16_LANES, 2), range(1, INT16_LANES, 2))
    )
    return builder.add(even, odd)


def _emit_transform_inputs(element: Any, builder: Any, arguments: Any) -> None:
    """Store Winograd's transform of a row of blocks of 2×2 pixels, from the 4×4 pixels around each: BᵀdB.

    Pixels are float32, or pairs of int16; the 16 results of a block are `stride` bytes apart.
    """
    source, row_stride, target, stride, _, _ = arguments
    vector, numbers = ir.VectorType(_I32, FLOAT_LANES), ir.VectorType(_INT16, INT16_LANES)
    add, sub = builder.add, builder.sub
    if element is _FLOAT:
        vector = numbers = ir.VectorType(_FLOAT, FLOAT_LANES)
        add, sub = builder.fadd, builder.fsub
    rows = []
    for row in range(4):
        start = builder.add(source, builder.mul(row_stride, _constant(row)))
        columns = []
        for first in (0, 8):  # bytes: the first pixel of a block, and the third
            low, high = (
                builder.load(_at(builder, start, vector, first + VECTOR_BYTES * part), align=4) for part in (0, 1)
            )
            for odd in (0, 1):
                columns.append(builder.bitcast(_chosen(builder, low, high, range(odd, 2 * FLOAT_LANES, 2)), numbers))
        a, b, c, d = columns
        rows.append([sub(a, c), add(b, c), sub(c, b), sub(b, d)])
    a, b, c, d = rows
    results = [map(sub, a, c), map(add, b, c), map(sub, c, b), map(sub, b, d)]
    place = target
    for result in (value for row in results for value in row):
        builder.store(result, _at(builder, place, numbers), align=VECTOR_BYTES)
        place = builder.add(place, stride)


def _emit_transform_outputs(element: Any, builder: Any, arguments: Any) -> None:
    """Store the sums of 2 rows of pixels from those of their blocks, transformed: AᵀmA, for integers over 4."""
    source, stride, target, row_stride, _, _ = arguments
    vector = ir.VectorType(element, FLOAT_LANES)
    add, sub = (builder.fadd, builder.fsub) if element is _FLOAT else (builder.add, builder.sub)
    loaded = []
    for _ in range(16):
        loaded.append(builder.load(_at(builder, source, vector), align=VECTOR_BYTES))
        source = builder.add(source, stride)
    a, b, c, d = (loaded[first : first + 4] for first in (0, 4, 8, 12))
    rows = [[add(add(x, y), z) for x, y, z in zip(a, b, c, strict=True)]]
    rows.append([sub(sub(x, y), z) for x, y, z in zip(b, c, d, strict=True)])
    for row, (a, b, c, d) in enumerate(rows):
        pair = [add(add(a, b), c), sub(sub(b, c), d)]
        if element is not _FLOAT:  # filters of integers are transformed with twice the usual matrix
            pair = [builder.ashr(value, ir.Constant(vector, [2] * FLOAT_LANES)) for value in pair]
        start = builder.add(target, builder.mul(row_stride, _constant(row)))
        for part in (0, 1):
            half = range(part * FLOAT_LANES // 2, (part + 1) * FLOAT_LANES // 2)
            lanes = [lane for i in half for lane in (i, i + FLOAT_LANES)]
            joined = _chosen(builder, pair[0], pair[1], lanes)
            builder.store(joined, _at(builder, start, vector, VECTOR_BYTES * part), align=4)


def _chosen(builder: Any, one: Any, other: Any, lanes: Iterable[int]) -> Any:
    """Return a vector of some lanes of two."""
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(_I32, FLOAT_LANES), list(lanes)))


def _microkernel(emit: Callable[[Any, Any, Any], None], element: Any) -> Any:
    """Wrap `emit` as a function for compiled code, of six 64-bit integers: addresses, strides in bytes, counts."""

    def microkernel(typingctx, a, b, c, d, e, f):
        def codegen(context, builder, signature, arguments):
            emit(element, builder, arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), codegen

    return intrinsic(microkernel)


_build_table_float32 = _microkernel(_emit_build_table, _FLOAT)
_build_table_int16 = _microkernel(_emit_build_table, _INT16)
_add_look_ups_float32 = _microkernel(_emit_add_look_ups, _FLOAT)
_add_look_ups_int16 = _microkernel(_emit_add_look_ups, _INT16)
_add_products = _microkernel(_emit_add_products, _FLOAT)
_add_pair_products = _microkernel(_emit_add_products, _I32)
_transform_inputs = _microkernel(_emit_transform_inputs, _FLOAT)
_transform_input_pairs = _microkernel(_emit_transform_inputs, _INT16)
_transform_outputs = _microkernel(_emit_transform_outputs, _FLOAT)
_transform_integer_outputs = _microkernel(_emit_transform_outputs, _I32)


@compiled(parallel=True)
def pad(x: Array, halo: int, padded: Array) -> None:
    """Copy an image into a padded one, `halo` pixels from its top and left; the padding is not written.

    Parameters
    ----------
    x : float32, shape (C, H, W)
    halo : int
    padded : float32, shape (at least C, at least H + 2 halo, at least W + 2 halo)
    """
    channels, height, width = x.shape
    for channel in prange(channels):
        for y in range(height):
            for i in range(width):
                padded[channel, halo + y, halo + i] = x[channel, y, i]


@compiled(parallel=True)
def pad_quantized(
    x: Array, inverse_step: np.float32, lowest: np.float32, highest: np.float32, halo: int, padded: NDArray[np.int16]
) -> None:
    """Copy an image, shape (C, H, W), into a padded one: ``clip(rint(x * inverse_step), lowest, highest)``."""
    channels, height, width = x.shape
    for channel in prange(channels):
        for y in range(height):
            for i in range(width):
                value = min(max(np.rint(x[channel, y, i] * inverse_step), lowest), highest)
                padded[channel, halo + y, halo + i] = np.int16(value)


@compiled(parallel=True)
def pad_pairs(
    x: Array, inverse_steps: Array, lowest: np.float32, highest: np.float32, halo: int, padded: NDArray[np.int16]
) -> None:
    """Copy an image into a padded one as levels, with a step per channel, two channels side by side at each pixel.

    Parameters
    ----------
    x : float32, shape (C, H, W)
    inverse_steps : float32, shape (C,)
    lowest, highest : float32
        The range that levels are clipped to.
    halo : int
    padded : int16, shape (ceil(C / 2), at least H + 2 halo, at least 2 (W + 2 halo))
        The padding, and the second channel of the last pair of an odd number, are not written.
    """
    channels, height, width = x.shape
    for pair in prange(padded.shape[0]):
        for y in range(height):
            for channel in range(2 * pair, min(2 * pair + 2, channels)):
                step, place = inverse_steps[channel], 2 * halo + channel % 2
                for i in range(width):
                    value = min(max(np.rint(x[channel, y, i] * step), lowest), highest)
                    padded[pair, halo + y, place + 2 * i] = np.int16(value)


@compiled
def convolve(
    padded: NDArray, weights: NDArray, offsets: NDArray[np.int64], epilogue: EpilogueArguments, workers: int
) -> None:
    """Convolve with filters that are not binary; with int8 filters, all sums are exact.

    Parameters
    ----------
    padded : float32, shape (I, rows, columns), or int16, shape (ceil(I / 2), rows, 2 · columns)
        See `pad` and `pad_pairs`; whole tiles with their halo.
    weights : float32, shape (blocks, taps, FLOAT_OUTPUTS), or int32, shape (blocks, taps, PAIR_OUTPUTS)
        Filters of a block of output channels, over all input channels and taps, padded with zeros; int32 holds two
        int16 weights, for the two channels of a pair.
    offsets : int64, shape (taps,)
        Where each weight reads, in bytes from the tile's first pixel in the first channel.
    epilogue : EpilogueArguments
    workers : int
        Number of threads that share the tiles.
    """
    call_on_workers(_convolve, workers, (workers, padded, weights, offsets, epilogue))


@compiled
def _convolve(worker, workers, padded, weights, offsets, epilogue):
    rows, lanes, row_stride = FLOAT_ROWS, FLOAT_LANES, padded.strides[1]
    across, tiles = _tiles(epilogue, rows, lanes)
    outputs, (blocks, taps, block_outputs) = epilogue.scale.size, weights.shape
    floats = block_outputs == FLOAT_OUTPUTS  # else pairs
    sums = np.empty(block_outputs * rows * lanes + lanes, weights.dtype)
    base = (-sums.ctypes.data % VECTOR_BYTES) // 4
    for index in range(worker * tiles // workers, (worker + 1) * tiles // workers):
        top, left = index // across * rows, index % across * lanes
        image, place = padded.ctypes.data + top * row_stride + left * 4, sums.ctypes.data + 4 * base
        for block in range(blocks):
            block_weights = weights.ctypes.data + 4 * block * taps * block_outputs
            if floats:
                _add_products(image, row_stride, offsets.ctypes.data, block_weights, taps, place)
            else:
                _add_pair_products(image, row_stride, offsets.ctypes.data, block_weights, taps, place)
            first = block * block_outputs
            last = min(first + block_outputs, outputs)
            _finish(sums, base, first, last, top, left, rows, lanes, epilogue)


@compiled
def convolve_winograd(padded: NDArray, weights: NDArray, epilogue: EpilogueArguments, workers: int) -> None:
    """Convolve with filters of 3×3 taps as `convolve` does, by Winograd's algorithm.

    Blocks of 2×2 pixels take 16 products where the definition takes 36 (A. Lavin and S. Gray, "Fast Algorithms for
    Convolutional Neural Networks", CVPR 2016). In float32, rounding errors are those of the largest pixels around. With
    int8 filters, all transforms are of integers that int16 holds, and their sums of products fit int32 for up to 1800
    channels: sums are exact.

    Parameters
    ----------
    padded : float32, shape (I, rows, columns), or int16, shape (ceil(I / 2), rows, 2 · columns)
        See `pad` and `pad_pairs`; whole tiles of 2 `FLOAT_ROWS` by 2 `FLOAT_LANES` pixels, with a halo of 1 pixel.
    weights : float32, shape (16, blocks, I, FLOAT_OUTPUTS), or int32, shape (16, blocks, ceil(I / 2), PAIR_OUTPUTS)
        Transformed filters, see `pipeline.engine.kernels.pixel.convolutions.transformed`; int32 for pairs of channels.
    epilogue : EpilogueArguments
    workers : int
    """
    call_on_workers(_convolve_winograd, workers, (workers, padded, weights, epilogue))


@compiled
def _convolve_winograd(worker, workers, padded, weights, epilogue):
    rows, lanes, row_stride = 2 * FLOAT_ROWS, 2 * FLOAT_LANES, padded.strides[1]
    across, tiles = _tiles(epilogue, rows, lanes)
    outputs, (_, blocks, planes, block_outputs) = epilogue.scale.size, weights.shape
    vectors, group, floats = (
        FLOAT_ROWS * VECTOR_BYTES,
        WINOGRAD_OUTPUTS // block_outputs,
        block_outputs == FLOAT_OUTPUTS,
    )
    inputs = np.empty(16 * planes * vectors + VECTOR_BYTES, np.uint8)
    products = np.empty(16 * WINOGRAD_OUTPUTS * vectors + VECTOR_BYTES, np.uint8)
    sums = np.empty(WINOGRAD_OUTPUTS * rows * lanes, weights.dtype)
    offsets = np.arange(planes) * vectors
    for index in range(worker * tiles // workers, (worker + 1) * tiles // workers):
        top, left = index // across * rows, index % across * lanes
        transformed, multiplied = _aligned(inputs), _aligned(products)
        for plane in range(planes):
            image = padded.ctypes.data + (plane * padded.shape[1] + top) * row_stride + left * 4
            for row in range(FLOAT_ROWS):
                source = image + 2 * row * row_stride
                target = transformed + plane * vectors + row * VECTOR_BYTES
                if floats:
                    _transform_inputs(source, row_stride, target, planes * vectors, 0, 0)
                else:
                    _transform_input_pairs(source, row_stride, target, planes * vectors, 0, 0)
        for first in range(0, blocks, group):
            last = min(first + group, blocks)
            for position in range(16):
                values = transformed + position * planes * vectors
                for block in range(first, last):
                    block_weights = weights.ctypes.data + 4 * (position * blocks + block) * planes * block_outputs
                    place = multiplied + (position * group + block - first) * block_outputs * vectors
                    if floats:
                        _add_products(values, VECTOR_BYTES, offsets.ctypes.data, block_weights, planes, place)
                    else:
                        _add_pair_products(values, VECTOR_BYTES, offsets.ctypes.data, block_weights, planes, place)
            start, end = first * block_outputs, min(last * block_outputs, outputs)
            for output in range(end - start):
                for row in range(FLOAT_ROWS):
                    place = multiplied + output * vectors + row * VECTOR_BYTES
                    target = sums.ctypes.data + 4 * (output * rows + 2 * row) * lanes
                    if floats:
                        _transform_outputs(place, WINOGRAD_OUTPUTS * vectors, target, 4 * lanes, 0, 0)
                    else:
                        _transform_integer_outputs(place, WINOGRAD_OUTPUTS * vectors, target, 4 * lanes, 0, 0)
            _finish(sums, 0, start, end, top, left, rows, lanes, epilogue)


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
    across, tiles = _tiles(epilogue, rows, lanes)
    groups, outputs, taps = offsets.shape
    channel_stride, table_rows = padded.shape[1] * row_stride, rows + size - 1
    table = np.empty((size * SUMS * table_rows + 1) * lanes, np.float32)
    sums = np.empty((outputs * rows + 1) * lanes, np.float32)
    base = (-sums.ctypes.data % VECTOR_BYTES) // 4
    for index in range(worker * tiles // workers, (worker + 1) * tiles // workers):
        top, left = index // across * rows, index % across * lanes
        sums[:] = 0
        for group in range(groups):
            aligned = _aligned(table)  # here, not before the loops: Numba frees an array after its last use
            source = padded.ctypes.data + group * CHANNELS * channel_stride + top * row_stride + left * 4
            _build_table_float32(source, channel_stride, row_stride, aligned, size, table_rows)
            group_offsets = offsets.ctypes.data + 4 * group * outputs * taps
            _add_look_ups_float32(sums.ctypes.data + 4 * base, aligned, group_offsets, outputs, taps, taps)
        _finish(sums, base, 0, outputs, top, left, rows, lanes, epilogue)


@compiled
def convolve_binary_levels(
    padded: NDArray[np.int16], offsets: NDArray[np.uint32], size: int, epilogue: EpilogueArguments, workers: int
) -> None:
    """Convolve levels (`padded` is what `pad_quantized` gives) with binary filters; all sums are exact."""
    call_on_workers(_convolve_binary_levels, workers, (workers, padded, offsets, size, epilogue))


@compiled
def _convolve_binary_levels(worker, workers, padded, offsets, size, epilogue):
    rows, lanes, row_stride = TABLE_ROWS, INT16_LANES, 2 * padded.shape[2]
    across, tiles = _tiles(epilogue, rows, lanes)
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
            aligned = _aligned(table)  # here, not before the loops: Numba frees an array after its last use
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
        _finish(sums, base, 0, outputs, top, left, rows, lanes, epilogue)


@compiled
def _tiles(epilogue, rows, columns):
    """Return the number of tiles across, and in all."""
    across = -(-epilogue.width // columns)
    return across, across * -(-epilogue.height // rows)


@compiled
def _aligned(array):
    """Return the address of the first aligned vector in an array."""
    return array.ctypes.data + -array.ctypes.data % VECTOR_BYTES


@compiled
def _widen(partial, sums):
    """Add the int16 sums to the int32 sums, and clear them."""
    for i in range(sums.size):
        sums[i] += partial[i]
        partial[i] = 0


@compiled
def _finish(sums, base, first, last, top, left, rows, lanes, epilogue):
    """Run the epilogue for the output channels first..last-1 of a tile, whose sums begin at `base`."""
    height, width, shuffle, halo = epilogue.height, epilogue.width, epilogue.shuffle, epilogue.halo
    residual_scale, inverse_step = epilogue.residual_scale, epilogue.inverse_step
    tile_rows, columns = min(rows, height - top), np.uint64(min(lanes, width - left))
    written, rest, stride = epilogue.out.reshape(-1), epilogue.residual.reshape(-1), np.uint64(shuffle)
    levels, (_, plane_rows, pitch) = epilogue.quantized.reshape(-1), epilogue.quantized.shape
    zero, low, high = np.float32(0), epilogue.lowest, epilogue.highest
    values = np.empty(lanes, np.float32)
    for o in range(first, last):
        scale, bias, slope = epilogue.scale[o], epilogue.bias[o], epilogue.slope[o]
        phase = o % (shuffle * shuffle)
        for row in range(tile_rows):
            y = (o // (shuffle * shuffle) * height + top + row) * shuffle + phase // shuffle
            target = np.uint64((y * width + left) * shuffle + phase % shuffle)
            source = np.uint64(base + ((o - first) * rows + row) * lanes)
            for i in range(columns):
                value = scale * np.float32(sums[source + i]) + bias
                values[i] = value if value > zero else slope * value
            if rest.size:
                for i in range(columns):
                    values[i] = rest[target + i * stride] + residual_scale * values[i]
            if written.size:
                for i in range(columns):
                    written[target + i * stride] = values[i]
            if levels.size:
                place = np.uint64((o * plane_rows + halo + top + row) * pitch + halo + left)
                for i in range(columns):
                    levels[place + i] = np.int16(min(max(np.rint(values[i] * inverse_step), low), high))
