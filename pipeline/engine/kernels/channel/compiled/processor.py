"""What these kernels need of a processor and of the system."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

from pipeline.engine.kernels.instructions import instructions

FEATURES = ("avx512f", "avx512bw", "avx512vbmi", "avx512vnni")
BFLOAT16_FEATURE = "avx512bf16"
TILE_FEATURES = ("amx-tile", "amx-int8", "amx-bf16", BFLOAT16_FEATURE)  # the last one to split float32


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
