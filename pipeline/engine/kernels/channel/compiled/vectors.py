"""Vectors of 512 bits, and the instructions of AVX-512 on them."""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg,var-annotated"

from __future__ import annotations

from typing import Any

from llvmlite import ir

from pipeline.engine.kernels import emit
from pipeline.engine.kernels.emit import FLOAT, I8, I16, I32, I64, at, call

LANES = 16  # float32 or int32 sums, one per output channel, in a register of 512 bits
VECTOR_BYTES = 64


class Bfloat16(ir.Type):
    """LLVM's type, which llvmlite does not have."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bfloat16)

    def __hash__(self) -> int:
        return hash(Bfloat16)


BYTES = {I8: 1, I16: 2, I32: 4, I64: 8, FLOAT: 4}
V8, V16, V32, V64, VF = (ir.VectorType(element, VECTOR_BYTES // size) for element, size in BYTES.items())


def load(builder: Any, address: Any, kind: Any, offset: int = 0, align: int = VECTOR_BYTES) -> Any:
    return builder.load(at(builder, address, kind, offset), align=align)


def splat(builder: Any, value: Any) -> Any:
    """Return a full vector with the same value in every lane."""
    return emit.splat(builder, value, VECTOR_BYTES // BYTES[value.type])


def zeros(kind: Any) -> ir.Constant:
    return ir.Constant(kind, [0.0 if kind.element is FLOAT else 0] * kind.count)


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return call(builder, "llvm.fma.v16f32", VF, a, b, c)


def dot_bytes(builder: Any, sums: Any, unsigned: Any, signed: Any) -> Any:
    """Add to each int32 lane the products of four unsigned with four signed bytes."""
    arguments = (builder.bitcast(value, V8) for value in (unsigned, signed))
    return call(builder, "llvm.x86.avx512.vpdpbusd.512", V32, sums, *arguments)


def dot_bfloat16(builder: Any, sums: Any, a: Any, b: Any) -> Any:
    """Add to each float32 lane the products of two pairs of bfloat16."""
    kind = ir.VectorType(Bfloat16(), VECTOR_BYTES // 2)
    arguments = (builder.bitcast(value, kind) for value in (a, b))
    return call(builder, "llvm.x86.avx512bf16.dpbf16ps.512", VF, sums, *arguments)
