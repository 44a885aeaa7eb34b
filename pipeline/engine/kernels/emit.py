"""What the kernels emit: LLVM types, addresses, vectors, loops."""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg"

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

I8, I16, I32, I64, FLOAT = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()


def constant(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


def at(builder: Any, address: Any, kind: Any, offset: int = 0) -> Any:
    """Return a pointer to `kind`, `offset` bytes after an integer address."""
    return builder.inttoptr(builder.add(address, constant(offset)), ir.PointerType(kind))


def call(builder: Any, name: str, kind: Any, *arguments: Any) -> Any:
    """Call an intrinsic of LLVM that returns `kind`."""
    signature = ir.FunctionType(kind, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), arguments)


def chosen(builder: Any, one: Any, other: Any, lanes: Iterable[int]) -> Any:
    """Return a vector of some lanes of two."""
    places = list(lanes)
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(I32, len(places)), places))


def splat(builder: Any, value: Any, lanes: int) -> Any:
    """Return a vector with the same value in every lane."""
    none = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    one = builder.insert_element(none, value, ir.Constant(I32, 0))
    return chosen(builder, one, none, [0] * lanes)


def emit_loop(builder: Any, count: Any, sums: list[Any], step: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
    """Emit a loop of `count` (at least 1) steps; `sums` are the initial accumulators, which stay in registers."""
    before, body = builder.block, builder.function.append_basic_block("loop")
    after = builder.function.append_basic_block("loop_end")
    builder.branch(body)
    builder.position_at_end(body)
    index = builder.phi(I64)
    index.add_incoming(constant(0), before)
    accumulators = [builder.phi(value.type) for value in sums]
    for phi, value in zip(accumulators, sums, strict=True):
        phi.add_incoming(value, before)
    updated = step(index, accumulators)
    next_index, end = builder.add(index, constant(1)), builder.block
    index.add_incoming(next_index, end)
    for phi, value in zip(accumulators, updated, strict=True):
        phi.add_incoming(value, end)
    builder.cbranch(builder.icmp_signed("<", next_index, count), body, after)
    builder.position_at_end(after)
    return updated


@intrinsic
def take(typingctx, counter):
    """Fetch and increment the number at an address, atomically."""

    def codegen(context, builder, signature, arguments):
        return builder.atomic_rmw("add", builder.inttoptr(arguments[0], ir.PointerType(I64)), constant(1), "monotonic")

    return types.int64(types.int64), codegen
