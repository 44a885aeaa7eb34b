"""Filters in float32 or int8; lanes are pixels."""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg,var-annotated"

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from pipeline.engine.kernels.emit import FLOAT, I16, I32, I64, at, call, chosen, constant, emit_loop, splat
from pipeline.engine.kernels.instructions import instructions
from pipeline.engine.kernels.parallel import call_on_workers, compiled
from pipeline.engine.kernels.pixel.compiled.epilogue import EpilogueArguments, finish, tiling
from pipeline.engine.kernels.pixel.compiled.vectors import FLOAT_LANES, INT16_LANES, VECTOR_BYTES, microkernel

# The block of the float convolution: rows × outputs accumulators and the rows just read fill the 32 registers of
# AVX-512, or the 16 of AVX2. From about 4 outputs on, arithmetic hides the loads.
FLOAT_ROWS, FLOAT_OUTPUTS = (6, 4) if VECTOR_BYTES == 64 else (3, 4)

# Of levels, whose products need a register before they are added.
PAIR_OUTPUTS = 3

# The instruction that multiplies pairs: `vpmaddwd`.
MULTIPLY_PAIRS = None

if VECTOR_BYTES == 64:
    MULTIPLY_PAIRS = "llvm.x86.avx512.pmaddw.d.512"
elif "avx2" in instructions():
    MULTIPLY_PAIRS = "llvm.x86.avx2.pmadd.wd"


def _emit_add_products(element: Any, builder: Any, arguments: Any) -> None:
    """Store the sums of a block of outputs over `count` taps: byte offsets into the image, a weight per output.

    Image and weights are float32, or pairs of int16 channels, whose products are added up in int32.
    """
    image, row_stride, offsets, weights, count, sums = arguments
    floats, outputs = element is FLOAT, FLOAT_OUTPUTS if element is FLOAT else PAIR_OUTPUTS
    vector = ir.VectorType(element, FLOAT_LANES)
    inputs_type = vector if floats else ir.VectorType(I16, INT16_LANES)
    rows = [builder.add(image, builder.mul(row_stride, constant(row))) for row in range(FLOAT_ROWS)]

    def step(index: Any, accumulators: list[Any]) -> list[Any]:
        offset = builder.load(at(builder, builder.add(offsets, builder.mul(index, constant(8))), I64))
        inputs = [builder.load(at(builder, builder.add(row, offset), inputs_type), align=4) for row in rows]
        first = builder.add(weights, builder.mul(index, constant(4 * outputs)))
        updated = []
        for output in range(outputs):
            weight = builder.load(at(builder, first, element, 4 * output))
            weight = splat(builder, weight, FLOAT_LANES)
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
    accumulators = emit_loop(builder, count, [zero] * (outputs * FLOAT_ROWS), step)
    for i, value in enumerate(accumulators):
        builder.store(value, at(builder, sums, vector, VECTOR_BYTES * i), align=VECTOR_BYTES)


def _multiply_pairs(builder: Any, one: Any, other: Any) -> Any:
    """Multiply int16 vectors, and add each product at an even lane to the next one, in int32."""
    vector = ir.VectorType(I32, FLOAT_LANES)
    if MULTIPLY_PAIRS is not None:  # LLVM does not always recognize what follows as the one instruction that it is
        return call(builder, MULTIPLY_PAIRS, vector, one, other)
    wide = ir.VectorType(I32, INT16_LANES)
    products = builder.mul(builder.sext(one, wide), builder.sext(other, wide))
    none = ir.Constant(wide, ir.Undefined)
    even, odd = (chosen(builder, products, none, range(first, INT16_LANES, 2)) for first in (0, 1))
    return builder.add(even, odd)


add_products = microkernel(_emit_add_products, FLOAT)

add_pair_products = microkernel(_emit_add_products, I32)


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
    across, tiles = tiling(epilogue, rows, lanes)
    outputs, (blocks, taps, block_outputs) = epilogue.scale.size, weights.shape
    floats = block_outputs == FLOAT_OUTPUTS  # else pairs
    sums = np.empty((blocks * block_outputs * rows + 1) * lanes, weights.dtype)
    base = (-sums.ctypes.data % VECTOR_BYTES) // 4
    for index in range(worker * tiles // workers, (worker + 1) * tiles // workers):
        top, left = index // across * rows, index % across * lanes
        image = padded.ctypes.data + top * row_stride + left * 4
        for block in range(blocks):
            block_weights = weights.ctypes.data + 4 * block * taps * block_outputs
            place = sums.ctypes.data + 4 * (base + block * block_outputs * rows * lanes)
            if floats:
                add_products(image, row_stride, offsets.ctypes.data, block_weights, taps, place)
            else:
                add_pair_products(image, row_stride, offsets.ctypes.data, block_weights, taps, place)
        finish(sums, base, 0, outputs, top, left, rows, lanes, epilogue)
