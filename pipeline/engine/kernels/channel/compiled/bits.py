"""Binary filters and activations in bit planes, by population count."""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg,var-annotated"

from __future__ import annotations

import numpy as np
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from pipeline.engine.kernels.channel.compiled.accumulation import accumulate
from pipeline.engine.kernels.channel.compiled.epilogue import EpilogueArguments, finish_block
from pipeline.engine.kernels.channel.compiled.vectors import V8, VECTOR_BYTES, load, splat, zeros
from pipeline.engine.kernels.emit import I8, I64, at, call, constant, take
from pipeline.engine.kernels.parallel import call_on_workers, compiled


@intrinsic
def _split_planes(typingctx, levels, mask, planes, target, step):
    """Write one 64-bit word per bit plane of 64 neighbouring levels, highest plane first, `step` bytes apart.

    Returns the sum of the levels whose bit in `mask` is set; the others count as zero.
    """

    def codegen(context, builder, signature, arguments):
        first, selected, count, target_address, plane_stride = arguments
        values = load(builder, first, V8, align=1)
        total = cgutils.alloca_once_value(builder, constant(0))
        with cgutils.for_range(builder, count) as plane:
            shift = builder.sub(builder.sub(count, constant(1)), plane.index)
            bit = splat(builder, builder.trunc(builder.shl(constant(1), shift), I8))
            is_set = builder.icmp_unsigned("!=", builder.and_(values, bit), zeros(V8))
            word = builder.and_(builder.bitcast(is_set, I64), selected)
            builder.store(
                word, at(builder, builder.add(target_address, builder.mul(plane.index, plane_stride)), I64), align=8
            )
            counted = builder.shl(call(builder, "llvm.ctpop.i64", I64, word), shift)
            builder.store(builder.add(builder.load(total), counted), total)
        return builder.load(total)

    return types.int64(*[types.int64] * 5), codegen


@compiled(parallel=True)
def split(levels: NDArray[np.uint8], channels: int, planes: int, bits: NDArray[np.uint64], total: NDArray[np.int32]):
    """Split levels into bit planes.

    Parameters
    ----------
    levels : uint8, shape (rows, columns, at least `channels`)
    channels : int
    planes : int
    bits : uint64, shape (rows, columns, planes, ceil(channels / 64))
        Written, highest bit first.
    total : int32, shape (rows, columns)
        Written: the sum of each pixel's levels.
    """
    rows, columns, words = bits.shape[0], bits.shape[1], bits.shape[3]
    for row in prange(rows):
        for column in range(columns):
            count = 0
            for word in range(words):
                used = min(channels - 64 * word, 64)
                mask = -1 if used == 64 else (1 << used) - 1
                source = levels.ctypes.data + (row * levels.shape[1] + column) * levels.shape[2] + 64 * word
                target = bits.ctypes.data + 8 * ((row * columns + column) * planes * words + word)
                count += _split_planes(source, mask, planes, target, 8 * words)
            total[row, column] = count


@compiled
def convolve_bits(
    bits: NDArray[np.uint64], total: NDArray[np.int32], halo: int, weights: NDArray[np.uint64], size: int,
    signs: bool, tap_sums: NDArray[np.int32], pixels: tuple, vectors: tuple, epilogue: EpilogueArguments,
    strip: int, sums: NDArray, rows: int, counter: NDArray[np.int64],
) -> None:  # fmt: skip
    """Convolve with binary filters by population count: ``2 popcount(x & w) - popcount(x)`` for each plane.

    Parameters are those of `convolve`, except

    bits, total
        See `split`; of an image with its halo.
    weights : uint64, shape (blocks, steps, V, 8)
        A set bit is +1. Steps are in the order (row, column, word of channels).
    signs : bool
        Whether the bits of the only plane represent +1 and -1 instead of 1 and 0.
    tap_sums : int32, shape (k², outputs)
        The sum of a filter's weights at each tap, added back where the halo counted as -1 instead of 0.
    """
    counter[0] = 0
    arguments = (
        bits, total, halo, weights, size, signs, tap_sums, pixels, vectors, epilogue, strip, sums, rows, counter,
    )  # fmt: skip
    call_on_workers(_convolve_bits, len(sums), arguments)


@compiled
def _convolve_bits(
    worker, bits, total, halo, weights, size, signs, tap_sums, pixels, vectors, epilogue, strip, sums, rows,
    counter,
):  # fmt: skip
    sums = sums[worker]
    blocks, steps = weights.shape[:2]
    _, columns, planes, words = bits.shape
    outputs, pixel_bytes = 8 * len(vectors), 8 * planes * words
    offsets = np.empty(steps, np.int64)
    for step in range(steps):
        tap = step // words
        offsets[step] = (tap // size * columns + tap % size) * pixel_bytes + 8 * (step % words)
    margin = halo - size // 2
    nothing = np.zeros(outputs, np.int32)
    top = rows * take(counter.ctypes.data)
    while top < epilogue.height:
        for y in range(top, min(top + rows, epilogue.height)):
            for left in range(0, epilogue.width, strip):
                stop = min(left + strip, epilogue.width)
                for block in range(blocks):
                    block_weights = weights.ctypes.data + block * steps * VECTOR_BYTES * len(vectors)
                    for x in range(left, stop, len(pixels)):
                        source = bits.ctypes.data + ((margin + y) * columns + margin + x) * pixel_bytes
                        place = sums.ctypes.data + 4 * outputs * (x - left)
                        initial, initial_stride = nothing.ctypes.data, 0
                        for plane in range(planes):
                            accumulate(
                                weights, pixels, vectors, source + 8 * words * plane, pixel_bytes, offsets.ctypes.data,
                                block_weights, steps, initial, initial_stride, place,
                            )  # fmt: skip
                            initial, initial_stride = place, 4 * outputs
                    for x in range(left, stop):
                        window = 0
                        for row in range(size):
                            for column in range(size):
                                window += total[margin + y + row, margin + x + column]
                        first, factor = (x - left) * outputs, 2 if signs else 1
                        for o in range(outputs):
                            counted = factor * (2 * sums[first + o] - window)
                            sums[first + o] = counted + epilogue.initial[block * outputs + o]
                        if signs:
                            for tap in range(size * size):
                                row, column = y + tap // size - size // 2, x + tap % size - size // 2
                                if not (0 <= row < epilogue.height and 0 <= column < epilogue.width):
                                    for o in range(outputs):
                                        sums[first + o] += tap_sums[tap, block * outputs + o]
                    finish_block(sums, sums.ctypes.data, 4 * outputs, block, outputs, y, left, stop - left, epilogue)
        top = rows * take(counter.ctypes.data)
