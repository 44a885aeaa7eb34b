"""Vectors of AVX-512 or AVX2, and the microkernels' form."""

# mypy: disallow_untyped_defs = False

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic

from pipeline.engine.kernels.instructions import instructions

# A vector of AVX-512 if the processor has it, else of AVX2; LLVM splits it for processors with shorter vectors.
VECTOR_BYTES = 64 if "avx512bw" in instructions() else 32
FLOAT_LANES, INT16_LANES = VECTOR_BYTES // 4, VECTOR_BYTES // 2


def microkernel(emit: Callable[[Any, Any, Any], None], element: Any) -> Any:
    """Wrap `emit` as a function for compiled code, of six 64-bit integers: addresses, strides in bytes, counts."""

    def microkernel(typingctx, a, b, c, d, e, f):
        def codegen(context, builder, signature, arguments):
            emit(element, builder, arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), codegen

    return intrinsic(microkernel)
