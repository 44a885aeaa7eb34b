"""The epilogue of a convolution: scale, bias, PReLU, skip, and rounding for the next layer."""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg,var-annotated"

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from pipeline.engine.kernels.channel.compiled.vectors import (
    LANES,
    V32,
    VECTOR_BYTES,
    VF,
    Bfloat16,
    load,
    multiply_add,
    splat,
    zeros,
)
from pipeline.engine.kernels.emit import FLOAT, I8, I64, at, call, constant
from pipeline.engine.kernels.parallel import compiled

Array = NDArray[np.float32]


class EpilogueArguments(NamedTuple):
    """The arguments of the epilogue: its parameters, and the images that it reads and writes.

    Vectors of 16 output channels are in the order of the filters: with a pixel shuffle, those of one phase are
    contiguous. The images have a halo, which is not written.

    Attributes
    ----------
    initial : int32 or float32, shape (outputs,)
        Initial value of each sum.
    scale, bias, slope : float32, shape (outputs,)
        See `pipeline.engine.epilogue.Epilogue`.
    numbers : float32, shape (3,)
        ``residual_scale``, and the lowest and highest level of the next layer.
    inverse_steps : float32, shape (outputs,)
        Inverse of the next layer's step; empty if no levels are written.
    height, width : int
        Size of the image before the pixel shuffle.
    shuffle : int
        Factor of the pixel shuffle; 1 for none.
    residual, out : float32, shape (rows, columns, channels)
        The image to add, and the output image; empty for none.
    residual_halo, out_halo : int
    residual_offsets, out_offsets, levels_offsets : int64, shape (vectors,)
        Offset of a vector's first channel, in elements from the first output pixel of its sums.
    levels : uint8 or int16, shape (rows, columns, channels)
        The output rounded for the next layer: minus the lowest level, or the bits of bfloat16; empty for none.
    levels_halo : int
    """

    initial: NDArray
    scale: Array
    bias: Array
    slope: Array
    numbers: Array
    inverse_steps: Array
    height: int
    width: int
    shuffle: int
    residual: Array
    residual_halo: int
    residual_offsets: NDArray[np.int64]
    out: Array
    out_halo: int
    out_offsets: NDArray[np.int64]
    levels: NDArray
    levels_halo: int
    levels_offsets: NDArray[np.int64]


def _emit_finish(integers: bool, to_bfloat16: bool, builder: Any, arguments: Any) -> None:
    sums, sums_stride, pixels, vectors, scales, biases, slopes, steps, numbers, *targets = arguments
    residual, residual_step, residual_offsets, out, out_step, out_offsets, levels, levels_step, levels_offsets = targets
    scaled, lowest, highest = (splat(builder, load(builder, numbers, FLOAT, 4 * i, align=4)) for i in range(3))
    zero, none, least = zeros(VF), constant(0), builder.fptosi(lowest, V32)
    has_residual, has_out, has_levels, has_steps = (
        builder.icmp_signed("!=", address, none) for address in (residual, out, levels, steps)
    )
    with cgutils.for_range(builder, vectors) as vector:
        offset = builder.mul(vector.index, constant(VECTOR_BYTES))
        start = builder.add(sums, offset)
        scale, bias, slope = (load(builder, builder.add(v, offset), VF, align=4) for v in (scales, biases, slopes))

        def first(image: Any, places: Any, size: int, vector: Any = vector) -> Any:
            channel = load(builder, builder.add(places, builder.mul(vector.index, constant(8))), I64, align=8)
            return builder.add(image, builder.mul(channel, constant(size)))

        before_steps = builder.block
        with builder.if_then(has_steps):
            loaded = load(builder, builder.add(steps, offset), VF, align=4)
            loading = builder.block
        inverse_step = builder.phi(VF)
        inverse_step.add_incoming(zero, before_steps)
        inverse_step.add_incoming(loaded, loading)
        to_residual = first(residual, residual_offsets, 4)
        to_out = first(out, out_offsets, 4)
        to_levels = first(levels, levels_offsets, 2 if to_bfloat16 else 1)
        with cgutils.for_range(builder, pixels) as pixel:

            def place(start: Any, step: Any, pixel: Any = pixel) -> Any:
                return builder.add(start, builder.mul(pixel.index, step))

            address = place(start, sums_stride)
            value = builder.sitofp(load(builder, address, V32), VF) if integers else load(builder, address, VF)
            value = multiply_add(builder, scale, value, bias)
            positive = builder.fcmp_ordered(">", value, zero)
            value = builder.select(positive, value, builder.fmul(slope, value))
            before = builder.block
            with builder.if_then(has_residual):
                other = load(builder, place(to_residual, residual_step), VF, align=4)
                added = multiply_add(builder, scaled, value, other)
                within = builder.block
            both = builder.phi(VF)
            both.add_incoming(value, before)
            both.add_incoming(added, within)
            with builder.if_then(has_out):
                builder.store(both, at(builder, place(to_out, out_step), VF), align=4)
            with builder.if_then(has_levels):
                if to_bfloat16:
                    level = builder.fptrunc(both, ir.VectorType(Bfloat16(), LANES))
                else:
                    level = builder.fmul(both, inverse_step)
                    level = builder.select(builder.fcmp_ordered(">", level, lowest), level, lowest)  # also of NaN
                    level = builder.select(builder.fcmp_ordered("<", level, highest), level, highest)
                    level = builder.sub(call(builder, "llvm.lrint.v16i32.v16f32", V32, level), least)
                    level = builder.trunc(level, ir.VectorType(I8, LANES))
                builder.store(level, at(builder, place(to_levels, levels_step), level.type), align=1)


@intrinsic
def _finish(
    typingctx, like, levels_like, sums, sums_stride, pixels, vectors, scale, bias, slope, steps, numbers,
    residual, residual_step, residual_offsets, out, out_step, out_offsets, levels, levels_step, levels_offsets,
):  # fmt: skip
    """Run the epilogue for pixels in a row and vectors of channels: addresses (0 for none), byte strides, counts."""
    integers, to_bfloat16 = like.dtype == types.int32, levels_like.dtype == types.int16

    def codegen(context, builder, signature, arguments):
        _emit_finish(integers, to_bfloat16, builder, arguments[2:])
        return context.get_dummy_value()

    return types.void(like, levels_like, *[types.int64] * 18), codegen


@compiled
def _first(image, halo, y, x, shuffle):
    """Return the index, in elements, of the first pixel that (y, x) becomes in an image; -1 if there is no image."""
    if image.size == 0:
        return -1
    return ((halo + y * shuffle) * image.shape[1] + halo + x * shuffle) * image.shape[2]


@compiled
def _address(array, size, place):
    return array.ctypes.data + size * place if place >= 0 else 0


@compiled
def finish_block(sums, start, stride, block, outputs, y, x, pixels, epilogue):
    """Run the epilogue for `pixels` pixels from (y, x) on and the `outputs` channels of a block."""
    first, r = block * outputs // LANES, epilogue.shuffle
    vectors = min(outputs // LANES, epilogue.out_offsets.size - first)
    o = 4 * block * outputs
    residual = _address(epilogue.residual, 4, _first(epilogue.residual, epilogue.residual_halo, y, x, r))
    out = _address(epilogue.out, 4, _first(epilogue.out, epilogue.out_halo, y, x, r))
    size = epilogue.levels.itemsize
    levels = _address(epilogue.levels, size, _first(epilogue.levels, epilogue.levels_halo, y, x, r))
    steps = _address(epilogue.inverse_steps, 1, o if epilogue.inverse_steps.size else -1)
    _finish(
        sums, epilogue.levels, start, stride, pixels, vectors,
        epilogue.scale.ctypes.data + o, epilogue.bias.ctypes.data + o, epilogue.slope.ctypes.data + o,
        steps, epilogue.numbers.ctypes.data,
        residual, 4 * r * epilogue.residual.shape[2], epilogue.residual_offsets.ctypes.data + 8 * first,
        out, 4 * r * epilogue.out.shape[2], epilogue.out_offsets.ctypes.data + 8 * first,
        levels, size * r * epilogue.levels.shape[2], epilogue.levels_offsets.ctypes.data + 8 * first,
    )  # fmt: skip
