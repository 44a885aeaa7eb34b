"""Call a compiled function once for each worker, in parallel.

This is what Numba's `prange` does. But Numba optimizes what such a loop calls three more times, and hands over each
field of each argument, which takes seconds for every kernel and every combination of types. Here the loop calls a
function by its address, with the address of its arguments, and is compiled once.
"""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg"

from __future__ import annotations

from pathlib import Path

from llvmlite import ir
from numba import prange, typeof, types
from numba.core import cgutils
from numba.extending import intrinsic

from pipeline.machine_code import compiler

compiled = compiler(Path(__file__).parent)  # the machine code of one kernel contains that of others, of any file here

_ARGUMENTS = (types.int64, types.int64)  # the address of a tuple, and the number of the worker
_FLAG = ir.IntType(8)


@intrinsic
def _call(typingctx, function, failed, arguments, worker):
    """Call the function at an address, as `call_on_workers` makes it; set the flag at another if it fails."""

    def codegen(context, builder, signature, values):
        address, flag, *passed = values
        kind = context.call_conv.get_function_type(types.none, _ARGUMENTS)
        called = builder.inttoptr(address, ir.PointerType(kind))
        status, _ = context.call_conv.call_function(builder, called, types.none, _ARGUMENTS, passed)
        with cgutils.if_unlikely(builder, status.is_error):
            builder.store(_FLAG(1), builder.inttoptr(flag, ir.PointerType(_FLAG)))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, *_ARGUMENTS), codegen


@compiled(parallel=True)
def _call_in_parallel(function, failed, arguments, workers):
    for worker in prange(workers):
        _call(function, failed, arguments, worker)


@intrinsic
def call_on_workers(typingctx, function, workers, arguments):
    """Call ``function(worker, *arguments)`` for each of 0..workers-1, in parallel. It returns nothing.

    Parameters are a compiled function, an integer and a tuple. If a call fails, which in these kernels only the memory
    that they allocate can make it do, this is a MemoryError.
    """
    parallel = typeof(_call_in_parallel)
    called = typingctx.resolve_function_type(function, (types.int64, *arguments.types), {})
    calling = typingctx.resolve_function_type(parallel, (types.int64,) * 4, {})

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
        failed = cgutils.alloca_once_value(builder, _FLAG(0))
        addresses = [builder.ptrtoint(pointer, ir.IntType(64)) for pointer in (on_worker, failed, stored)]
        context.get_function(parallel, calling)(builder, [*addresses, count])
        with cgutils.if_unlikely(builder, builder.trunc(builder.load(failed), ir.IntType(1))):
            context.call_conv.return_user_exc(builder, MemoryError, ("out of memory in a kernel",))
        return context.get_dummy_value()

    return types.void(function, types.int64, arguments), codegen
