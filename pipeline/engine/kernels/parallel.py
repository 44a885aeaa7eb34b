"""Call a compiled function once for each worker, in parallel.

This is what Numba's `prange` does. But Numba optimizes what such a loop calls three more times, and hands over each
field of each argument, which takes seconds for every kernel and every combination of types. Here the loop calls a
function by its address, with the address of its arguments, and is compiled once.

Numba's cache on disk does not notice changes of this file: delete the kernels' `__pycache__` after one.
"""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg"

from __future__ import annotations

from llvmlite import ir
from numba import njit, prange, typeof, types
from numba.core import cgutils
from numba.extending import intrinsic

_ARGUMENTS = (types.int64, types.int64)  # the address of a tuple, and the number of the worker


@intrinsic
def _call(typingctx, function, arguments, worker):
    """Call the function at an address, as `call_on_workers` makes it."""

    def codegen(context, builder, signature, values):
        address, *passed = values
        kind = context.call_conv.get_function_type(types.none, _ARGUMENTS)
        called = builder.inttoptr(address, ir.PointerType(kind))
        context.call_conv.call_function(builder, called, types.none, _ARGUMENTS, passed)
        return context.get_dummy_value()

    return types.void(types.int64, *_ARGUMENTS), codegen


@njit(cache=True, parallel=True)
def _call_in_parallel(function, arguments, workers):
    for worker in prange(workers):
        _call(function, arguments, worker)


@intrinsic
def call_on_workers(typingctx, function, workers, arguments):
    """Call ``function(worker, *arguments)`` for each of 0..workers-1, in parallel. It returns nothing.

    Parameters are a compiled function, an integer and a tuple.
    """
    parallel = typeof(_call_in_parallel)
    called = typingctx.resolve_function_type(function, (types.int64, *arguments.types), {})
    calling = typingctx.resolve_function_type(parallel, (types.int64, types.int64, types.int64), {})

    def codegen(context, builder, signature, values):
        _, count, passed = values
        stored = cgutils.alloca_once_value(builder, passed)
        kind = context.call_conv.get_function_type(types.none, _ARGUMENTS)
        name = builder.module.get_unique_name(f"{builder.function.name}.worker")
        on_worker = ir.Function(builder.module, kind, name)
        on_worker.linkage = "internal"
        inner = ir.IRBuilder(on_worker.append_basic_block("entry"))
        address, worker = context.call_conv.get_arguments(on_worker)
        loaded = inner.load(inner.inttoptr(address, stored.type))
        context.get_function(function, called)(inner, [worker, *cgutils.unpack_tuple(inner, loaded)])
        context.call_conv.return_value(inner, context.get_dummy_value())
        addresses = [builder.ptrtoint(pointer, ir.IntType(64)) for pointer in (on_worker, stored)]
        context.get_function(parallel, calling)(builder, [*addresses, count])
        return context.get_dummy_value()

    return types.void(function, types.int64, arguments), codegen
