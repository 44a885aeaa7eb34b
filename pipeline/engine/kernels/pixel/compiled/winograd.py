"""Filters of 3×3 taps in float32 or int8, by Winograd's algorithm."""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg,var-annotated"

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from pipeline.engine.kernels.emit import FLOAT, I16, I32, at, chosen, constant
from pipeline.engine.kernels.parallel import call_on_workers, compiled
from pipeline.engine.kernels.pixel.compiled.epilogue import EpilogueArguments, finish, first_aligned, tiling
from pipeline.engine.kernels.pixel.compiled.products import (
    FLOAT_OUTPUTS,
    FLOAT_ROWS,
    PAIR_OUTPUTS,
    add_pair_products,
    add_products,
)
from pipeline.engine.kernels.pixel.compiled.vectors import FLOAT_LANES, INT16_LANES, VECTOR_BYTES, microkernel

# Outputs of Winograd's algorithm that are transformed back together: their products stay in the second-level cache.
WINOGRAD_OUTPUTS = 2 * FLOAT_OUTPUTS * PAIR_OUTPUTS


def _emit_transform_inputs(element: Any, builder: Any, arguments: Any) -> None:
    """Store Winograd's transform of a row of blocks of 2×2 pixels, from the 4×4 pixels around each: BᵀdB.

    Pixels are float32, or pairs of int16; the 16 results of a block are `stride` bytes apart.
    """
    source, row_stride, target, stride, _, _ = arguments
    vector, numbers = ir.VectorType(I32, FLOAT_LANES), ir.VectorType(I16, INT16_LANES)
    add, sub = builder.add, builder.sub
    if element is FLOAT:
        vector = numbers = ir.VectorType(FLOAT, FLOAT_LANES)
        add, sub = builder.fadd, builder.fsub
    rows = []
    for row in range(4):
        start = builder.add(source, builder.mul(row_stride, constant(row)))
        columns = []
        for first in (0, 8):  # bytes: the first pixel of a block, and the third
            low, high = (
                builder.load(at(builder, start, vector, first + VECTOR_BYTES * part), align=4) for part in (0, 1)
            )
            for odd in (0, 1):
                columns.append(builder.bitcast(chosen(builder, low, high, range(odd, 2 * FLOAT_LANES, 2)), numbers))
        a, b, c, d = columns
        rows.append([sub(a, c), add(b, c), sub(c, b), sub(b, d)])
    a, b, c, d = rows
    results = [map(sub, a, c), map(add, b, c), map(sub, c, b), map(sub, b, d)]
    place = target
    for result in (value for row in results for value in row):
        builder.store(result, at(builder, place, numbers), align=VECTOR_BYTES)
        place = builder.add(place, stride)


def _emit_transform_outputs(element: Any, builder: Any, arguments: Any) -> None:
    """Store the sums of 2 rows of pixels from those of their blocks, transformed: AᵀmA, for integers over 4."""
    source, stride, target, row_stride, _, _ = arguments
    vector = ir.VectorType(element, FLOAT_LANES)
    add, sub = (builder.fadd, builder.fsub) if element is FLOAT else (builder.add, builder.sub)
    loaded = []
    for _ in range(16):
        loaded.append(builder.load(at(builder, source, vector), align=VECTOR_BYTES))
        source = builder.add(source, stride)
    a, b, c, d = (loaded[first : first + 4] for first in (0, 4, 8, 12))
    rows = [[add(add(x, y), z) for x, y, z in zip(a, b, c, strict=True)]]
    rows.append([sub(sub(x, y), z) for x, y, z in zip(b, c, d, strict=True)])
    for row, (a, b, c, d) in enumerate(rows):
        pair = [add(add(a, b), c), sub(sub(b, c), d)]
        if element is not FLOAT:  # filters of integers are transformed with twice the usual matrix
            pair = [builder.ashr(value, ir.Constant(vector, [2] * FLOAT_LANES)) for value in pair]
        start = builder.add(target, builder.mul(row_stride, constant(row)))
        for part in (0, 1):
            half = range(part * FLOAT_LANES // 2, (part + 1) * FLOAT_LANES // 2)
            lanes = [lane for i in half for lane in (i, i + FLOAT_LANES)]
            joined = chosen(builder, pair[0], pair[1], lanes)
            builder.store(joined, at(builder, start, vector, VECTOR_BYTES * part), align=4)


_transform_inputs = microkernel(_emit_transform_inputs, FLOAT)

_transform_input_pairs = microkernel(_emit_transform_inputs, I16)

_transform_outputs = microkernel(_emit_transform_outputs, FLOAT)

_transform_integer_outputs = microkernel(_emit_transform_outputs, I32)


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
        Transformed filters, see `pipeline.engine.kernels.pixel.filters.transformed`; int32 for pairs of channels.
    epilogue : EpilogueArguments
    workers : int
    """
    call_on_workers(_convolve_winograd, workers, (workers, padded, weights, epilogue))


@compiled
def _convolve_winograd(worker, workers, padded, weights, epilogue):
    rows, lanes, row_stride = 2 * FLOAT_ROWS, 2 * FLOAT_LANES, padded.strides[1]
    across, tiles = tiling(epilogue, rows, lanes)
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
        transformed, multiplied = first_aligned(inputs), first_aligned(products)
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
                        add_products(values, VECTOR_BYTES, offsets.ctypes.data, block_weights, planes, place)
                    else:
                        add_pair_products(values, VECTOR_BYTES, offsets.ctypes.data, block_weights, planes, place)
            start, end = first * block_outputs, min(last * block_outputs, outputs)
            for output in range(end - start):
                for row in range(FLOAT_ROWS):
                    place = multiplied + output * vectors + row * VECTOR_BYTES
                    target = sums.ctypes.data + 4 * (output * rows + 2 * row) * lanes
                    if floats:
                        _transform_outputs(place, WINOGRAD_OUTPUTS * vectors, target, 4 * lanes, 0, 0)
                    else:
                        _transform_integer_outputs(place, WINOGRAD_OUTPUTS * vectors, target, 4 * lanes, 0, 0)
            finish(sums, 0, start, end, top, left, rows, lanes, epilogue)
