"""The microkernel of all kernels but those of tiles: sums of a few pixels, in registers over all steps."""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg,var-annotated"

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pipeline.engine.kernels.channel.compiled.vectors import (
    V8,
    V16,
    V32,
    V64,
    VECTOR_BYTES,
    VF,
    dot_bfloat16,
    dot_bytes,
    load,
    multiply_add,
    splat,
    zeros,
)
from pipeline.engine.kernels.emit import FLOAT, I32, I64, at, call, chosen, constant, emit_loop


class _Step(NamedTuple):
    """The step of a kind of convolution: how it reads a pixel, its types, and how it adds to a sum."""

    read: Callable[[Any, Any, Any, int], list[Any]]  # builder, address of pixel 0, pixel stride, pixel
    weights: Any
    sums: Any
    add: Callable[[Any, Any, list[Any], Any], Any]  # builder, sum, what was read, weights


def _read_table(kind: Any, registers: int) -> Callable[[Any, Any, Any, int], list[Any]]:
    def read(builder: Any, address: Any, stride: Any, pixel: int) -> list[Any]:
        first = pixel * registers * VECTOR_BYTES  # tables of neighbouring pixels are contiguous
        return [load(builder, address, kind, first + VECTOR_BYTES * i) for i in range(registers)]

    return read


def _read_pixel(kind: Any, splatted: bool) -> Callable[[Any, Any, Any, int], list[Any]]:
    def read(builder: Any, address: Any, stride: Any, pixel: int) -> list[Any]:
        place = builder.add(address, builder.mul(stride, constant(pixel)))
        value = load(builder, place, kind, align=1)
        return [splat(builder, value) if splatted else value]

    return read


def _add_float(builder: Any, total: Any, x: list[Any], weights: Any) -> Any:
    return multiply_add(builder, x[0], weights, total)


def _add_int16(builder: Any, total: Any, x: list[Any], weights: Any) -> Any:
    return dot_bfloat16(builder, total, x[0], weights)


def _add_int8(builder: Any, total: Any, x: list[Any], weights: Any) -> Any:
    return dot_bytes(builder, total, x[0], weights)


def _add_uint32(builder: Any, total: Any, x: list[Any], indices: Any) -> Any:
    name = "llvm.x86.avx512.vpermi2var.ps.512"
    return builder.fadd(total, call(builder, name, VF, x[0], indices, x[1]))


def _add_uint16(builder: Any, total: Any, x: list[Any], indices: Any) -> Any:
    return builder.add(total, call(builder, "llvm.x86.avx512.permvar.hi.512", V16, x[0], indices))


def _add_uint8(builder: Any, total: Any, x: list[Any], indices: Any) -> Any:
    looked_up = call(builder, "llvm.x86.avx512.permvar.qi.512", V8, x[0], indices)
    return dot_bytes(builder, total, looked_up, ir.Constant(V8, [1] * 64))


def _add_uint64(builder: Any, total: Any, x: list[Any], bits: Any) -> Any:
    return builder.add(total, call(builder, "llvm.ctpop.v8i64", V64, builder.and_(x[0], bits)))


# By the type of the weights. For few outputs (`_STEPS_OF_FEW`) the lanes are input channels.
_STEPS = {
    types.float32: _Step(_read_pixel(FLOAT, splatted=True), VF, VF, _add_float),
    types.int16: _Step(_read_pixel(I32, splatted=True), V16, VF, _add_int16),
    types.int8: _Step(_read_pixel(I32, splatted=True), V8, V32, _add_int8),
    types.uint64: _Step(_read_pixel(I64, splatted=True), V64, V64, _add_uint64),
    types.uint32: _Step(_read_table(VF, 2), V32, VF, _add_uint32),
    types.uint16: _Step(_read_table(V16, 1), V16, V16, _add_uint16),
    types.uint8: _Step(_read_table(V8, 1), V8, V32, _add_uint8),
}

_STEPS_OF_FEW = {
    types.float32: _Step(_read_pixel(VF, splatted=False), VF, VF, _add_float),
    types.int16: _Step(_read_pixel(V16, splatted=False), V16, VF, _add_int16),
    types.int8: _Step(_read_pixel(V8, splatted=False), V8, V32, _add_int8),
}


def _emit_accumulate(step: _Step, pixels: int, vectors: int, few: bool, builder: Any, arguments: Any) -> None:
    """Store the sums of pixels × vectors: those at `initial` plus `count` steps.

    A step reads at its byte offset from the source. The initial sums of neighbouring pixels are `initial_stride` bytes
    apart.
    """
    source, stride, offsets, weights, count, initial, initial_stride, sums = arguments

    def advance(index: Any, accumulators: list[Any]) -> list[Any]:
        offset = load(builder, builder.add(offsets, builder.mul(index, constant(8))), I64, align=8)
        first = builder.add(weights, builder.mul(index, constant(vectors * VECTOR_BYTES)))
        weight_vectors = [load(builder, first, step.weights, VECTOR_BYTES * v) for v in range(vectors)]
        updated, place = [], builder.add(source, offset)
        for pixel in range(pixels):
            x = step.read(builder, place, stride, pixel)
            totals = accumulators[pixel * vectors : (pixel + 1) * vectors]
            updated += [step.add(builder, total, x, w) for total, w in zip(totals, weight_vectors, strict=True)]
        return updated

    places = [(pixel, vectors * pixel + v, v) for pixel in range(pixels) for v in range(vectors)]
    firsts = [builder.add(initial, builder.mul(initial_stride, constant(pixel))) for pixel in range(pixels)]
    zero = zeros(step.sums)
    if few:
        accumulators = emit_loop(builder, count, [zero for _ in places], advance)
        element = step.sums.element
        for (pixel, place, v), value in zip(places, accumulators, strict=True):
            before = load(builder, firsts[pixel], element, 4 * v, align=4)
            if element is FLOAT:
                kind = ir.FunctionType(FLOAT, [FLOAT, VF])
                reduce = cgutils.get_or_insert_function(builder.module, kind, "llvm.vector.reduce.fadd.v16f32")
                total = builder.call(reduce, [before, value], fastmath=("reassoc",))
            else:
                total = builder.add(before, call(builder, "llvm.vector.reduce.add.v16i32", element, value))
            builder.store(total, at(builder, sums, element, 4 * place), align=4)
    elif step.sums is V16:
        accumulators = emit_loop(builder, count, [zero for _ in places], advance)
        for (pixel, place, v), value in zip(places, accumulators, strict=True):
            for half in range(2):
                wide = builder.sext(chosen(builder, value, value, list(range(16 * half, 16 * half + 16))), V32)
                before = load(builder, firsts[pixel], V32, VECTOR_BYTES * (2 * v + half))
                target = at(builder, sums, V32, VECTOR_BYTES * (2 * place + half))
                builder.store(builder.add(before, wide), target, align=VECTOR_BYTES)
    elif step.sums is V64:
        narrow, half = ir.VectorType(I32, 8), VECTOR_BYTES // 2
        before = [load(builder, firsts[pixel], narrow, half * v, align=4) for pixel, _, v in places]
        one = ir.Constant(V64, [1] * 8)
        accumulators = [
            builder.shl(builder.sext(value, V64), one) for value in before
        ]  # a plane has twice the weight of the next
        accumulators = emit_loop(builder, count, accumulators, advance)
        for (_, place, _), value in zip(places, accumulators, strict=True):
            builder.store(builder.trunc(value, narrow), at(builder, sums, narrow, half * place), align=half)
    else:
        accumulators = [load(builder, firsts[pixel], step.sums, VECTOR_BYTES * v) for pixel, _, v in places]
        accumulators = emit_loop(builder, count, accumulators, advance)
        for (_, place, _), value in zip(places, accumulators, strict=True):
            builder.store(value, at(builder, sums, step.sums, VECTOR_BYTES * place), align=VECTOR_BYTES)


def _accumulator(steps: dict[Any, _Step], few: bool) -> Any:
    def accumulate(
        typingctx, like, pixels, vectors, source, stride, offsets, weights, count, initial, initial_stride, sums
    ):
        step = steps[like.dtype]

        def codegen(context, builder, signature, arguments):
            _emit_accumulate(step, pixels.count, vectors.count, few, builder, arguments[3:])
            return context.get_dummy_value()

        return types.void(like, pixels, vectors, *[types.int64] * 8), codegen

    return intrinsic(accumulate)


# Arguments: an array of the weights' type; tuples as long as the numbers of pixels and vectors; addresses, counts.
accumulate = _accumulator(_STEPS, few=False)

accumulate_few = _accumulator(_STEPS_OF_FEW, few=True)
