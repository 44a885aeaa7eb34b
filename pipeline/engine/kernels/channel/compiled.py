"""The compiled kernels for AVX-512 with VBMI and VNNI: lanes are output channels, and tables are in registers.

Images are stored pixel by pixel, channels innermost. Each convolution is a microkernel: for a few neighbouring pixels
and a few vectors of output channels, the accumulators stay in registers over all steps. The type of the weights
determines what a step does:

- float32: ``sums += weights * x``, one input channel per step;
- int16: bfloat16, two input channels per step, by the dot product of pairs (AVX-512 BF16);
- int8: four input channels per step, by the dot product of bytes (VNNI);
- uint64: binary filters and activations in bit planes, 64 channels per step, by population count (the textbook method);
- uint32, uint16, uint8: binary filters and table look-up. A table holds all signed sums of a few channels of one pixel,
  and a weight is an index into it: one permutation of a register looks up a sum for every lane.

  ======  ===========  ==============  ========  ========================  ======================
  index   activations  sums in table   channels  multiply-adds a look-up   accumulators
  ======  ===========  ==============  ========  ========================  ======================
  uint32  float32      32 × float32    5         80                        float32
  uint16  8 bits       32 × int16      5         160                       int16, widened in time
  uint8   6 bits       4 × 16 × uint8  4 × 4     256                       int32
  ======  ===========  ==============  ========  ========================  ======================

On processors with AMX, products of tiles (16 pixels × 64 bytes times 64 bytes × 16 outputs) take the place of most of
these steps, with binary filters as bytes again and float32 in three parts. That is more work than looking sums up, in a
unit that multiplies eight times as fast as VNNI.

Microkernels are emitted as LLVM vector code. Results do not depend on the number of threads: the sums of a pixel are
always added in the same order.
"""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg,var-annotated"

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from pipeline.engine.kernels.instructions import instructions
from pipeline.engine.kernels.parallel import call_on_workers, compiled

LANES = 16  # float32 or int32 sums, one per output channel, in a register of 512 bits
VECTOR_BYTES = 64
FEATURES = ("avx512f", "avx512bw", "avx512vbmi", "avx512vnni")
BFLOAT16_FEATURE = "avx512bf16"
TILE_FEATURES = ("amx-tile", "amx-int8", "amx-bf16", BFLOAT16_FEATURE)  # the last one to split float32


TILE_ROWS = 16  # of a tile register, 64 bytes each

# Spare pixels after every image: a block of pixels may extend beyond the end of the last row.
SLACK_PIXELS = 33

# Look-ups before an int16 sum can overflow: four channels are within ±128 of the middle, the fifth within 0..255.
SAFE_LOOK_UPS = 32767 // (4 * 128 + 255)

Array = NDArray[np.float32]


def supported() -> bool:
    """Whether Numba compiles for a processor with the instructions that these kernels need."""
    return instructions().issuperset(FEATURES)


def bfloat16_supported() -> bool:
    """Whether Numba compiles for a processor that also multiplies in bfloat16."""
    return supported() and BFLOAT16_FEATURE in instructions()


@cache
def tiles_supported() -> bool:
    """Whether Numba compiles for a processor with tile registers (AMX), and the system lets this process use them.

    Linux gives them to a process that asks: `arch_prctl` with ARCH_REQ_XCOMP_PERM for XFEATURE_XTILEDATA.
    """
    if not (supported() and instructions().issuperset(TILE_FEATURES) and sys.platform == "linux"):
        return False
    return bool(ctypes.CDLL(None).syscall(158, 0x1023, 18) == 0)


def _tile_configuration() -> NDArray[np.uint8]:
    """Return the configuration of eight tile registers of 16 rows of 64 bytes, as ldtilecfg reads it."""
    configuration = np.zeros(64, np.uint8)
    configuration[0] = 1  # palette
    configuration[16:32:2] = VECTOR_BYTES
    configuration[48:56] = TILE_ROWS
    return configuration


TILE_CONFIGURATION = _tile_configuration()


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


class _Bfloat16(ir.Type):
    """LLVM's type, which llvmlite does not have."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bfloat16)

    def __hash__(self) -> int:
        return hash(_Bfloat16)


_I8, _I16, _I32, _I64, _FLOAT = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
_BYTES = {_I8: 1, _I16: 2, _I32: 4, _I64: 8, _FLOAT: 4}
_V8, _V16, _V32, _V64, _VF = (ir.VectorType(element, VECTOR_BYTES // size) for element, size in _BYTES.items())


def _constant(value: int) -> ir.Constant:
    return ir.Constant(_I64, value)


def _at(builder: Any, address: Any, kind: Any, offset: int = 0) -> Any:
    """Return a pointer to `kind`, `offset` bytes after an integer address."""
    return builder.inttoptr(builder.add(address, _constant(offset)), ir.PointerType(kind))


def _load(builder: Any, address: Any, kind: Any, offset: int = 0, align: int = VECTOR_BYTES) -> Any:
    return builder.load(_at(builder, address, kind, offset), align=align)


def _splat(builder: Any, value: Any) -> Any:
    """Return a full vector with the same value in every lane."""
    kind = ir.VectorType(value.type, VECTOR_BYTES // _BYTES[value.type])
    none = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(none, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, none, ir.Constant(ir.VectorType(_I32, kind.count), [0] * kind.count))


def _shuffle(builder: Any, value: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(value, value, ir.Constant(ir.VectorType(_I32, len(lanes)), lanes))


def _call(builder: Any, name: str, kind: Any, *arguments: Any) -> Any:
    signature = ir.FunctionType(kind, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), arguments)


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return _call(builder, "llvm.fma.v16f32", _VF, a, b, c)


def _dot_bytes(builder: Any, sums: Any, unsigned: Any, signed: Any) -> Any:
    """Add to each int32 lane the products of four unsigned with four signed bytes."""
    arguments = (builder.bitcast(value, _V8) for value in (unsigned, signed))
    return _call(builder, "llvm.x86.avx512.vpdpbusd.512", _V32, sums, *arguments)


def _dot_bfloat16(builder: Any, sums: Any, a: Any, b: Any) -> Any:
    """Add to each float32 lane the products of two pairs of bfloat16."""
    kind = ir.VectorType(_Bfloat16(), VECTOR_BYTES // 2)
    arguments = (builder.bitcast(value, kind) for value in (a, b))
    return _call(builder, "llvm.x86.avx512bf16.dpbf16ps.512", _VF, sums, *arguments)


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


class _Step(NamedTuple):
    """The step of a kind of convolution: how it reads a pixel, its types, and how it adds to a sum."""

    read: Callable[[Any, Any, Any, int], list[Any]]  # builder, address of pixel 0, pixel stride, pixel
    weights: Any
    sums: Any
    add: Callable[[Any, Any, list[Any], Any], Any]  # builder, sum, what was read, weights


def _read_table(kind: Any, registers: int) -> Callable[[Any, Any, Any, int], list[Any]]:
    def read(builder: Any, address: Any, stride: Any, pixel: int) -> list[Any]:
        first = pixel * registers * VECTOR_BYTES  # tables of neighbouring pixels are contiguous
        return [_load(builder, address, kind, first + VECTOR_BYTES * i) for i in range(registers)]

    return read


def _read_pixel(kind: Any, splat: bool) -> Callable[[Any, Any, Any, int], list[Any]]:
    def read(builder: Any, address: Any, stride: Any, pixel: int) -> list[Any]:
        place = builder.add(address, builder.mul(stride, _constant(pixel)))
        value = _load(builder, place, kind, align=1)
        return [_splat(builder, value) if splat else value]

    return read


def _add_float(builder: Any, total: Any, x: list[Any], weights: Any) -> Any:
    return _multiply_add(builder, x[0], weights, total)


def _add_int16(builder: Any, total: Any, x: list[Any], weights: Any) -> Any:
    return _dot_bfloat16(builder, total, x[0], weights)


def _add_int8(builder: Any, total: Any, x: list[Any], weights: Any) -> Any:
    return _dot_bytes(builder, total, x[0], weights)


def _add_uint32(builder: Any, total: Any, x: list[Any], indices: Any) -> Any:
    name = "llvm.x86.avx512.vpermi2var.ps.512"
    return builder.fadd(total, _call(builder, name, _VF, x[0], indices, x[1]))


def _add_uint16(builder: Any, total: Any, x: list[Any], indices: Any) -> Any:
    return builder.add(total, _call(builder, "llvm.x86.avx512.permvar.hi.512", _V16, x[0], indices))


def _add_uint8(builder: Any, total: Any, x: list[Any], indices: Any) -> Any:
    looked_up = _call(builder, "llvm.x86.avx512.permvar.qi.512", _V8, x[0], indices)
    return _dot_bytes(builder, total, looked_up, ir.Constant(_V8, [1] * 64))


def _add_uint64(builder: Any, total: Any, x: list[Any], bits: Any) -> Any:
    return builder.add(total, _call(builder, "llvm.ctpop.v8i64", _V64, builder.and_(x[0], bits)))


# By the type of the weights. For few outputs (`_STEPS_OF_FEW`) the lanes are input channels.
_STEPS = {
    types.float32: _Step(_read_pixel(_FLOAT, splat=True), _VF, _VF, _add_float),
    types.int16: _Step(_read_pixel(_I32, splat=True), _V16, _VF, _add_int16),
    types.int8: _Step(_read_pixel(_I32, splat=True), _V8, _V32, _add_int8),
    types.uint64: _Step(_read_pixel(_I64, splat=True), _V64, _V64, _add_uint64),
    types.uint32: _Step(_read_table(_VF, 2), _V32, _VF, _add_uint32),
    types.uint16: _Step(_read_table(_V16, 1), _V16, _V16, _add_uint16),
    types.uint8: _Step(_read_table(_V8, 1), _V8, _V32, _add_uint8),
}
_STEPS_OF_FEW = {
    types.float32: _Step(_read_pixel(_VF, splat=False), _VF, _VF, _add_float),
    types.int16: _Step(_read_pixel(_V16, splat=False), _V16, _VF, _add_int16),
    types.int8: _Step(_read_pixel(_V8, splat=False), _V8, _V32, _add_int8),
}


def _zero(kind: Any) -> ir.Constant:
    return ir.Constant(kind, [0.0 if kind.element is _FLOAT else 0] * kind.count)


def _emit_accumulate(step: _Step, pixels: int, vectors: int, few: bool, builder: Any, arguments: Any) -> None:
    """Store the sums of pixels × vectors: those at `initial` plus `count` steps.

    A step reads at its byte offset from the source. The initial sums of neighbouring pixels are `initial_stride` bytes
    apart.
    """
    source, stride, offsets, weights, count, initial, initial_stride, sums = arguments

    def advance(index: Any, accumulators: list[Any]) -> list[Any]:
        offset = _load(builder, builder.add(offsets, builder.mul(index, _constant(8))), _I64, align=8)
        first = builder.add(weights, builder.mul(index, _constant(vectors * VECTOR_BYTES)))
        weight_vectors = [_load(builder, first, step.weights, VECTOR_BYTES * v) for v in range(vectors)]
        updated, place = [], builder.add(source, offset)
        for pixel in range(pixels):
            x = step.read(builder, place, stride, pixel)
            totals = accumulators[pixel * vectors : (pixel + 1) * vectors]
            updated += [step.add(builder, total, x, w) for total, w in zip(totals, weight_vectors, strict=True)]
        return updated

    places = [(pixel, vectors * pixel + v, v) for pixel in range(pixels) for v in range(vectors)]
    firsts = [builder.add(initial, builder.mul(initial_stride, _constant(pixel))) for pixel in range(pixels)]
    zero = _zero(step.sums)
    if few:
        accumulators = _emit_loop(builder, count, [zero for _ in places], advance)
        element = step.sums.element
        for (pixel, place, v), value in zip(places, accumulators, strict=True):
            before = _load(builder, firsts[pixel], element, 4 * v, align=4)
            if element is _FLOAT:
                kind = ir.FunctionType(_FLOAT, [_FLOAT, _VF])
                reduce = cgutils.get_or_insert_function(builder.module, kind, "llvm.vector.reduce.fadd.v16f32")
                total = builder.call(reduce, [before, value], fastmath=("reassoc",))
            else:
                total = builder.add(before, _call(builder, "llvm.vector.reduce.add.v16i32", element, value))
            builder.store(total, _at(builder, sums, element, 4 * place), align=4)
    elif step.sums is _V16:
        accumulators = _emit_loop(builder, count, [zero for _ in places], advance)
        for (pixel, place, v), value in zip(places, accumulators, strict=True):
            for half in range(2):
                wide = builder.sext(_shuffle(builder, value, list(range(16 * half, 16 * half + 16))), _V32)
                before = _load(builder, firsts[pixel], _V32, VECTOR_BYTES * (2 * v + half))
                target = _at(builder, sums, _V32, VECTOR_BYTES * (2 * place + half))
                builder.store(builder.add(before, wide), target, align=VECTOR_BYTES)
    elif step.sums is _V64:
        narrow, half = ir.VectorType(_I32, 8), VECTOR_BYTES // 2
        before = [_load(builder, firsts[pixel], narrow, half * v, align=4) for pixel, _, v in places]
        one = ir.Constant(_V64, [1] * 8)
        accumulators = [
            builder.shl(builder.sext(value, _V64), one) for value in before
        ]  # a plane has twice the weight of the next
        accumulators = _emit_loop(builder, count, accumulators, advance)
        for (_, place, _), value in zip(places, accumulators, strict=True):
            builder.store(builder.trunc(value, narrow), _at(builder, sums, narrow, half * place), align=half)
    else:
        accumulators = [_load(builder, firsts[pixel], step.sums, VECTOR_BYTES * v) for pixel, _, v in places]
        accumulators = _emit_loop(builder, count, accumulators, advance)
        for (_, place, _), value in zip(places, accumulators, strict=True):
            builder.store(value, _at(builder, sums, step.sums, VECTOR_BYTES * place), align=VECTOR_BYTES)


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
_accumulate = _accumulator(_STEPS, few=False)
_accumulate_few = _accumulator(_STEPS_OF_FEW, few=True)


def _table_uint32(builder: Any, pixel: Any, constants: list[Any], table: Any) -> None:
    """Store the 32 signed sums of five channels: those of four channels, minus and plus the fifth."""
    x = [_splat(builder, _load(builder, pixel, _FLOAT, 4 * channel, align=4)) for channel in range(5)]
    total = builder.fmul(x[0], constants[0])
    for channel in range(1, 4):
        total = _multiply_add(builder, x[channel], constants[channel], total)
    fifth = builder.fmul(x[4], constants[4])
    builder.store(builder.fsub(total, fifth), _at(builder, table, _VF), align=VECTOR_BYTES)
    builder.store(builder.fadd(total, fifth), _at(builder, table, _VF, VECTOR_BYTES), align=VECTOR_BYTES)


def _table_uint16(builder: Any, pixel: Any, constants: list[Any], table: Any) -> None:
    """Store a table of int16 sums: four channels' levels relative to 128; minus and plus the fifth are neighbours."""
    signs, start, fifth = constants
    total = _dot_bytes(builder, start, _splat(builder, _load(builder, pixel, _I32, align=1)), signs)
    twice = _shuffle(builder, builder.bitcast(total, _V16), [2 * (i // 2) for i in range(32)])
    last = builder.bitcast(_splat(builder, _load(builder, pixel, _I16, 4, align=1)), _V8)
    last = _call(builder, "llvm.x86.avx512.pmaddubs.w.512", _V16, last, fifth)
    builder.store(builder.add(twice, last), _at(builder, table, _V16), align=VECTOR_BYTES)


def _table_uint8(builder: Any, pixel: Any, constants: list[Any], table: Any) -> None:
    """Store the 16 sums of each of four groups of four channels: of levels for sign +1, of 63 minus level for -1."""
    totals = []
    for group in range(4):
        signs, start = constants[2 * group : 2 * group + 2]
        x = _splat(builder, _load(builder, pixel, _I32, 4 * group, align=1))
        totals.append(_dot_bytes(builder, start, x, signs))
    name = "llvm.x86.avx512.packssdw.512"
    low, high = (_call(builder, name, _V16, totals[i], totals[i + 1]) for i in (0, 2))
    packed = _call(builder, "llvm.x86.avx512.packuswb.512", _V8, low, high)
    builder.store(packed, _at(builder, table, _V8), align=VECTOR_BYTES)


# By the type of the indices: the function that emits a table, the types of its constants, its size in bytes.
_TABLES = {
    types.uint32: (_table_uint32, [_VF] * 5, 2 * VECTOR_BYTES),
    types.uint16: (_table_uint16, [_V8, _V32, _V8], VECTOR_BYTES),
    types.uint8: (_table_uint8, [_V8, _V32] * 4, VECTOR_BYTES),
}


@intrinsic
def _build_tables(typingctx, like, source, stride, count, constants, tables):
    """Build the tables of one group of channels for `count` neighbouring pixels, `stride` bytes apart."""
    emit, kinds, size = _TABLES[like.dtype]

    def codegen(context, builder, signature, arguments):
        _, first, pixel_stride, pixels, constants_address, table_address = arguments
        constants = [_load(builder, constants_address, kind, VECTOR_BYTES * i) for i, kind in enumerate(kinds)]
        with cgutils.for_range(builder, pixels) as pixel:
            address = builder.add(first, builder.mul(pixel.index, pixel_stride))
            emit(builder, address, constants, builder.add(table_address, builder.mul(pixel.index, _constant(size))))
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 5), codegen


def _emit_finish(integers: bool, to_bfloat16: bool, builder: Any, arguments: Any) -> None:
    sums, sums_stride, pixels, vectors, scales, biases, slopes, steps, numbers, *targets = arguments
    residual, residual_step, residual_offsets, out, out_step, out_offsets, levels, levels_step, levels_offsets = targets
    scaled, lowest, highest = (_splat(builder, _load(builder, numbers, _FLOAT, 4 * i, align=4)) for i in range(3))
    zero, none, least = _zero(_VF), _constant(0), builder.fptosi(lowest, _V32)
    has_residual, has_out, has_levels, has_steps = (
        builder.icmp_signed("!=", address, none) for address in (residual, out, levels, steps)
    )
    with cgutils.for_range(builder, vectors) as vector:
        offset = builder.mul(vector.index, _constant(VECTOR_BYTES))
        start = builder.add(sums, offset)
        scale, bias, slope = (_load(builder, builder.add(v, offset), _VF, align=4) for v in (scales, biases, slopes))

        def first(image: Any, places: Any, size: int, vector: Any = vector) -> Any:
            channel = _load(builder, builder.add(places, builder.mul(vector.index, _constant(8))), _I64, align=8)
            return builder.add(image, builder.mul(channel, _constant(size)))

        before_steps = builder.block
        with builder.if_then(has_steps):
            loaded = _load(builder, builder.add(steps, offset), _VF, align=4)
            loading = builder.block
        inverse_step = builder.phi(_VF)
        inverse_step.add_incoming(zero, before_steps)
        inverse_step.add_incoming(loaded, loading)
        to_residual = first(residual, residual_offsets, 4)
        to_out = first(out, out_offsets, 4)
        to_levels = first(levels, levels_offsets, 2 if to_bfloat16 else 1)
        with cgutils.for_range(builder, pixels) as pixel:

            def place(start: Any, step: Any, pixel: Any = pixel) -> Any:
                return builder.add(start, builder.mul(pixel.index, step))

            address = place(start, sums_stride)
            value = builder.sitofp(_load(builder, address, _V32), _VF) if integers else _load(builder, address, _VF)
            value = _multiply_add(builder, scale, value, bias)
            positive = builder.fcmp_ordered(">", value, zero)
            value = builder.select(positive, value, builder.fmul(slope, value))
            before = builder.block
            with builder.if_then(has_residual):
                other = _load(builder, place(to_residual, residual_step), _VF, align=4)
                added = _multiply_add(builder, scaled, value, other)
                within = builder.block
            both = builder.phi(_VF)
            both.add_incoming(value, before)
            both.add_incoming(added, within)
            with builder.if_then(has_out):
                builder.store(both, _at(builder, place(to_out, out_step), _VF), align=4)
            with builder.if_then(has_levels):
                if to_bfloat16:
                    level = builder.fptrunc(both, ir.VectorType(_Bfloat16(), LANES))
                else:
                    level = builder.fmul(both, inverse_step)
                    level = builder.select(builder.fcmp_ordered(">", level, lowest), level, lowest)  # also of NaN
                    level = builder.select(builder.fcmp_ordered("<", level, highest), level, highest)
                    level = builder.sub(_call(builder, "llvm.lrint.v16i32.v16f32", _V32, level), least)
                    level = builder.trunc(level, ir.VectorType(_I8, LANES))
                builder.store(level, _at(builder, place(to_levels, levels_step), level.type), align=1)


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


@intrinsic
def _take(typingctx, counter):
    """Fetch and increment the number at an address, atomically."""

    def codegen(context, builder, signature, arguments):
        return builder.atomic_rmw(
            "add", builder.inttoptr(arguments[0], ir.PointerType(_I64)), _constant(1), "monotonic"
        )

    return types.int64(types.int64), codegen


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
def _finish_block(sums, start, stride, block, outputs, y, x, pixels, epilogue):
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


@compiled
def convolve(
    image: NDArray, halo: int, weights: NDArray, size: int, pixels: tuple, vectors: tuple, epilogue: EpilogueArguments,
    strip: int, sums: NDArray, rows: int, counter: NDArray[np.int64],
) -> None:  # fmt: skip
    """Convolve with filters in float32, bfloat16 or int8.

    Parameters
    ----------
    image : float32, int16 (bits of bfloat16; an even number of channels) or uint8, shape (rows, columns, channels)
        With a halo of at least ``size // 2`` pixels, and `SLACK_PIXELS` after its end.
    halo : int
    weights : float32, int16 or int8, shape (blocks, steps, V, 16, 32 or 64)
        For each block of V vectors of outputs and each step, the weights of one input channel (int16: two, int8: four)
        at one tap for 16 outputs per vector. Steps are in the order (row, column, channel).
    size : int
        Height and width of the filters.
    pixels, vectors : tuples of int
        Their lengths are the microkernel's pixels and vectors V; their contents do not matter.
    epilogue : EpilogueArguments
    strip : int
        Columns per call of the epilogue, a multiple of the microkernel's pixels.
    sums : float32 or int32, shape (workers, at least strip · V · 16), aligned
        Scratch memory; for binary filters, for all outputs.
    rows : int
        Rows that a worker takes at a time; small enough to balance cores whose speed varies on a shared machine.
    counter : int64, shape (1,)
        Scratch memory for counting the row bands that have been taken.
    """
    counter[0] = 0
    call_on_workers(
        _convolve, len(sums), (image, halo, weights, size, pixels, vectors, epilogue, strip, sums, rows, counter)
    )


@compiled
def _convolve(worker, image, halo, weights, size, pixels, vectors, epilogue, strip, sums, rows, counter):
    sums = sums[worker]
    blocks, steps = weights.shape[:2]
    _, columns, channels = image.shape
    item, outputs = image.itemsize, LANES * len(vectors)
    at_once = steps // (size * size)  # channels, or groups of two or four, at a tap
    offsets = np.empty(steps, np.int64)
    for step in range(steps):
        tap = step // at_once
        offsets[step] = item * ((tap // size * columns + tap % size) * channels) + 4 * (step % at_once)
    margin = halo - size // 2
    top = rows * _take(counter.ctypes.data)
    while top < epilogue.height:
        for y in range(top, min(top + rows, epilogue.height)):
            for left in range(0, epilogue.width, strip):
                stop = min(left + strip, epilogue.width)
                for block in range(blocks):
                    block_weights = weights.ctypes.data + block * steps * VECTOR_BYTES * len(vectors)
                    for x in range(left, stop, len(pixels)):
                        source = image.ctypes.data + item * (((margin + y) * columns + margin + x) * channels)
                        _accumulate(
                            weights, pixels, vectors, source, item * channels, offsets.ctypes.data, block_weights,
                            steps, epilogue.initial.ctypes.data + 4 * block * outputs, 0,
                            sums.ctypes.data + 4 * outputs * (x - left),
                        )  # fmt: skip
                    _finish_block(sums, sums.ctypes.data, 4 * outputs, block, outputs, y, left, stop - left, epilogue)
        top = rows * _take(counter.ctypes.data)


def _tile(builder: Any, name: str, *arguments: Any) -> None:
    """Emit an instruction of AMX; tile registers are numbers, which LLVM takes as constants."""
    values = [ir.Constant(_I8, value) if isinstance(value, int) else value for value in arguments]
    kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), values)


@intrinsic
def _configure_tiles(typingctx, configuration):
    """Give this thread tile registers, as the 64 bytes at an address describe them."""

    def codegen(context, builder, signature, arguments):
        _tile(builder, "ldtilecfg", _at(builder, arguments[0], _I8))
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def _release_tiles(typingctx):
    """Clear this thread's tile registers, so that the system need not save them."""

    def codegen(context, builder, signature, arguments):
        _tile(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), codegen


# The products of parts that make one of two numbers, as (part of the weight, parts of the pixel), by their count: of
# numbers that are not split; of a pixel in three parts with a weight of one; of both in three, without those products
# that are less than a rounding of float32.
_PRODUCTS = {1: ((0, (0,)),), 3: ((0, (0, 1, 2)),), 6: ((0, (0, 1, 2)), (1, (0, 1)), (2, (0,)))}


@intrinsic
def _multiply_tiles(
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
                start = _at(builder, initial, _I8, VECTOR_BYTES * v)
                _tile(builder, "tileloadd64", total(group, v), start, _constant(0))  # the same for all pixels
        with cgutils.for_range(builder, count) as step:
            offset = _load(builder, builder.add(offsets, builder.mul(step.index, _constant(8))), _I64, align=8)
            pixel = builder.add(source, offset)
            step_bytes = _constant(len(parts) * len(vector_tiles) * size)
            weight = builder.add(weights, builder.mul(step.index, step_bytes))
            for part, pixel_parts in parts:
                for number, pixel_part in enumerate(pixel_parts):
                    plane = builder.add(pixel, builder.mul(plane_stride, _constant(pixel_part)))
                    for group in pixel_tiles:
                        first = builder.add(plane, builder.mul(stride, _constant(TILE_ROWS * group)))
                        _tile(builder, "tileloadd64", 4 + group, _at(builder, first, _I8), stride)
                        for v in vector_tiles:
                            if number == group == 0:
                                place = _at(builder, weight, _I8, (part * len(vector_tiles) + v) * size)
                                _tile(builder, "tileloadd64", 6 + v, place, _constant(VECTOR_BYTES))
                            _tile(builder, product, total(group, v), 4 + group, 6 + v)
        for group in pixel_tiles:
            first = builder.add(sums, builder.mul(sums_stride, _constant(TILE_ROWS * group)))
            for v in vector_tiles:
                place = _at(builder, first, _I8, VECTOR_BYTES * v)
                _tile(builder, "tilestored64", total(group, v), place, sums_stride)
        return context.get_dummy_value()

    return types.void(like, products, groups, vectors, *[types.int64] * 9), codegen


@intrinsic
def _add_shifted(typingctx, like, sums, stride, shift, taps, pixels, initial, target, target_stride):
    """For each pixel, add up four neighbouring sums from each of `taps` pixels, `shift` bytes from one to the next.

    Parameters are addresses, byte strides and counts. Results are by output, `target_stride` bytes apart.
    """
    kind = ir.VectorType(_I32 if like.dtype == types.int32 else _FLOAT, 4)

    def codegen(context, builder, signature, arguments):
        _, sums, stride, shift, taps, pixels, initial, target, target_stride = arguments
        add = builder.add if kind.element is _I32 else builder.fadd
        first = _load(builder, initial, kind, align=4)
        with cgutils.for_range(builder, pixels) as pixel:
            place = builder.add(sums, builder.mul(pixel.index, stride))

            def step(tap: Any, total: list[Any], place: Any = place) -> list[Any]:
                return [add(total[0], _load(builder, builder.add(place, builder.mul(tap, shift)), kind, align=4))]

            (total,) = _emit_loop(builder, taps, [first], step)
            first_result = builder.add(target, builder.mul(pixel.index, _constant(4)))
            for o in range(kind.count):
                result = builder.add(first_result, builder.mul(target_stride, _constant(o)))
                value = builder.extract_element(total, ir.Constant(_I32, o))
                builder.store(value, _at(builder, result, kind.element), align=4)
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 8), codegen


@intrinsic
def _split(typingctx, source, target, stride):
    """Split 16 float32 into three times 16 bfloat16 with the same sums, `stride` bytes apart."""
    kind = ir.VectorType(_Bfloat16(), LANES)

    def codegen(context, builder, signature, arguments):
        start, first, step = arguments
        rest = _load(builder, start, _VF, align=4)
        for part in range(3):
            rounded = builder.fptrunc(rest, kind)
            builder.store(rounded, _at(builder, builder.add(first, builder.mul(step, _constant(part))), kind), align=2)
            bits = builder.zext(builder.bitcast(rounded, ir.VectorType(_I16, LANES)), _V32)
            upper = builder.shl(bits, ir.Constant(_V32, [16] * LANES))
            rest = builder.fsub(rest, builder.bitcast(upper, _VF))
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
    _configure_tiles(configuration.ctypes.data)
    taken = _take(counter.ctypes.data)
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
                _finish_block(sums, sums.ctypes.data, 4 * outputs, block, outputs, y, left, count, epilogue)
        taken = _take(counter.ctypes.data)
    _release_tiles()


@compiled
def _multiply_row(weights, block, products, vectors, source, pixel_bytes, plane_bytes, pixels, offsets, initial, sums):
    """Store the sums of neighbouring pixels for the outputs of a block; source and targets are addresses."""
    steps, sums_bytes = len(offsets), VECTOR_BYTES * len(vectors)
    block_weights = weights.ctypes.data + block * steps * weights.shape[2] * TILE_ROWS * sums_bytes
    for x in range(0, pixels, 2 * TILE_ROWS):
        if pixels - x > TILE_ROWS:
            _multiply_tiles(
                weights, products, (1, 1), vectors, source + x * pixel_bytes, pixel_bytes, plane_bytes,
                offsets.ctypes.data, block_weights, steps, initial, sums + x * sums_bytes, sums_bytes,
            )  # fmt: skip
        else:
            _multiply_tiles(
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


@compiled
def convolve_few(
    image: NDArray, halo: int, weights: NDArray, size: int, pixels: tuple, outputs: tuple, epilogue: EpilogueArguments,
    planes: Array, sums: NDArray, rows: int, counter: NDArray[np.int64],
) -> None:  # fmt: skip
    """Convolve with float filters of few outputs; lanes are input channels. No pixel shuffle, no output in levels.

    Parameters are those of `convolve`, except

    weights : float32, int16 or int8, shape (1, steps, O, 16, 32 or 64)
        Steps are in the order (row, column, vector of channels).
    outputs : tuple of int
        Its length is the number of outputs.
    planes : float32, shape (O, height, width)
        The output; if empty, ``epilogue.out`` is written instead.
    """
    counter[0] = 0
    call_on_workers(
        _convolve_few, len(sums), (image, halo, weights, size, pixels, outputs, epilogue, planes, sums, rows, counter)
    )


@compiled
def _convolve_few(worker, image, halo, weights, size, pixels, outputs, epilogue, planes, sums, rows, counter):
    sums = sums[worker]
    steps = weights.shape[1]
    _, columns, channels = image.shape
    item, count_of = image.itemsize, len(outputs)
    at_once = steps // (size * size)
    offsets = np.empty(steps, np.int64)
    for step in range(steps):
        tap = step // at_once
        offsets[step] = item * ((tap // size * columns + tap % size) * channels) + VECTOR_BYTES * (step % at_once)
    margin, zero = halo - size // 2, np.float32(0)
    top = rows * _take(counter.ctypes.data)
    while top < epilogue.height:
        for y in range(top, min(top + rows, epilogue.height)):
            for x in range(0, epilogue.width, len(pixels)):
                source = image.ctypes.data + item * (((margin + y) * columns + margin + x) * channels)
                _accumulate_few(
                    weights, pixels, outputs, source, item * channels, offsets.ctypes.data, weights.ctypes.data, steps,
                    epilogue.initial.ctypes.data, 0, sums.ctypes.data,
                )  # fmt: skip
                for pixel in range(min(len(pixels), epilogue.width - x)):
                    for o in range(count_of):
                        value = epilogue.scale[o] * np.float32(sums[pixel * count_of + o]) + epilogue.bias[o]
                        value = value if value > zero else epilogue.slope[o] * value
                        if epilogue.residual.size:
                            before = epilogue.residual[
                                epilogue.residual_halo + y, epilogue.residual_halo + x + pixel, o
                            ]
                            value = before + epilogue.numbers[0] * value
                        if planes.size:
                            planes[o, y, x + pixel] = value
                        else:
                            epilogue.out[epilogue.out_halo + y, epilogue.out_halo + x + pixel, o] = value
        top = rows * _take(counter.ctypes.data)


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
    part = _take(counter.ctypes.data)
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
                        _accumulate(
                            indices, pixels, vectors, tables.ctypes.data + (x - left) * table_bytes, 0,
                            offsets.ctypes.data + 8 * (y % size * steps + step), block_indices,
                            min(at_once, steps - step), initial, initial_stride, place,
                        )  # fmt: skip
            for block in range(blocks):
                place = sums.ctypes.data + 4 * outputs * block * strip
                _finish_block(sums, place, 4 * outputs, block, outputs, y, left, stop - left, epilogue)
        part = _take(counter.ctypes.data)


@intrinsic
def _split_planes(typingctx, levels, mask, planes, target, step):
    """Write one 64-bit word per bit plane of 64 neighbouring levels, highest plane first, `step` bytes apart.

    Returns the sum of the levels whose bit in `mask` is set; the others count as zero.
    """

    def codegen(context, builder, signature, arguments):
        first, selected, count, target_address, plane_stride = arguments
        values = _load(builder, first, _V8, align=1)
        total = cgutils.alloca_once_value(builder, _constant(0))
        with cgutils.for_range(builder, count) as plane:
            shift = builder.sub(builder.sub(count, _constant(1)), plane.index)
            bit = _splat(builder, builder.trunc(builder.shl(_constant(1), shift), _I8))
            is_set = builder.icmp_unsigned("!=", builder.and_(values, bit), _zero(_V8))
            word = builder.and_(builder.bitcast(is_set, _I64), selected)
            builder.store(
                word, _at(builder, builder.add(target_address, builder.mul(plane.index, plane_stride)), _I64), align=8
            )
            counted = builder.shl(_call(builder, "llvm.ctpop.i64", _I64, word), shift)
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
    top = rows * _take(counter.ctypes.data)
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
                            _accumulate(
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
                    _finish_block(sums, sums.ctypes.data, 4 * outputs, block, outputs, y, left, stop - left, epilogue)
        top = rows * _take(counter.ctypes.data)


@compiled(parallel=True)
def planes_to_image(x: Array, image: Array, halo: int) -> None:
    """Copy planes, float32 of shape (C, H, W), into an image, float32 of shape (rows, columns, at least C)."""
    channels, height, width = x.shape
    for y in prange(height):
        for channel in range(channels):  # in this order, since distant planes would evict each other from the cache
            for i in range(width):
                image[halo + y, halo + i, channel] = x[channel, y, i]


@compiled(parallel=True)
def image_to_planes(image: Array, halo: int, planes: Array) -> None:
    """Copy an image, float32 of shape (rows, columns, at least C), into planes, float32 of shape (C, H, W)."""
    channels, height, width = planes.shape
    for y in prange(height):
        for channel in range(channels):
            for i in range(width):
                planes[channel, y, i] = image[halo + y, halo + i, channel]


@compiled
def fill_halo(image: NDArray[np.uint8], halo: int, height: int, width: int, value: int) -> None:
    """Fill the halo around height × width pixels of an image, shape (rows, columns, C), with a value."""
    for y in range(height + 2 * halo):
        outside = halo if halo <= y < halo + height else width + 2 * halo  # leading pixels that belong to the halo
        for x in range(outside):
            for channel in range(image.shape[2]):
                image[y, x, channel] = value
        for x in range(max(outside, halo + width), width + 2 * halo):
            for channel in range(image.shape[2]):
                image[y, x, channel] = value


@compiled(parallel=True)
def round_levels(
    image: Array, halo: int, inverse_steps: Array, lowest: np.float32, highest: np.float32,
    levels: NDArray[np.uint8], levels_halo: int, height: int, width: int,
) -> None:  # fmt: skip
    """Write ``clip(rint(x * inverse_steps), lowest, highest) - lowest`` of an image.

    Images have shape (rows, columns, C), with a halo around height × width pixels; `inverse_steps` has shape (C,).
    """
    channels = image.shape[2]
    for y in prange(height):
        for i in range(width):
            for channel in range(channels):
                value = np.rint(image[halo + y, halo + i, channel] * inverse_steps[channel])
                level = np.int32(min(max(value, lowest), highest) - lowest)
                levels[levels_halo + y, levels_halo + i, channel] = level


@compiled(parallel=True)
def round_bfloat16(
    image: Array, halo: int, rounded: NDArray[np.int16], rounded_halo: int, height: int, width: int
) -> None:
    """Write the bits of an image in bfloat16, halves to even; 0 for channels it lacks.

    Images have shape (rows, columns, at least C), with a halo around height × width pixels.
    """
    bits, channels = image.view(np.uint32), image.shape[2]
    for y in prange(height):
        for i in range(width):
            for channel in range(channels):
                value = bits[halo + y, halo + i, channel]
                value = (value + np.uint32(0x7FFF) + (value >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)
                rounded[rounded_halo + y, rounded_halo + i, channel] = value
            for channel in range(channels, rounded.shape[2]):
                rounded[rounded_halo + y, rounded_halo + i, channel] = 0
