"""Holding every side of a benchmark to an instruction set.

PyTorch, oneDNN (which PyTorch and OpenVINO use) and Numba read environment variables when they load, so that a process
is held from its start. ONNX Runtime has no such variable, and PyTorch's compiler asks the processor itself: both are
left out of a held measurement.
"""

from __future__ import annotations

import os
import sys
from typing import Literal

from llvmlite import binding

from pipeline.errors import InputError

InstructionSet = Literal["avx2", "avx512", "native"]
NEEDED = {"avx2": ("avx2", "fma"), "avx512": ("avx512f", "avx512bw", "avx512vl", "avx512dq"), "native": ()}
HELD = "BINSR_HELD_TO"  # the variable of a process that is held
NOT_HELD = ("onnxruntime", "torch_compile")  # how the names of backends begin that cannot be held


def narrower(isa: InstructionSet) -> bool:
    """Return whether this processor has more than the instruction set, so that programs must be held to it.

    Raises
    ------
    InputError
        If the processor does not have it.
    """
    features = binding.get_host_cpu_features()
    if not all(features.get(name) for name in NEEDED[isa]):
        raise InputError(f"--isa: this processor has no {isa}; choose native")
    return isa == "avx2" and any(on for name, on in features.items() if name.startswith(("avx512", "avxvnni", "amx")))


def held() -> bool:
    """Return whether this process is held to AVX2."""
    return HELD in os.environ


def held_environment() -> dict[str, str]:
    """Return the variables that hold a process to AVX2."""
    features = binding.get_host_cpu_features()
    wider = ("avx512", "avx10", "avxvnni", "avxifma", "avxneconvert", "amx")
    kept = [f"{'+' if on and not name.startswith(wider) else '-'}{name}" for name, on in features.items()]
    return {
        HELD: "avx2",
        "NUMBA_CPU_FEATURES": ",".join(kept),
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    }


def hold(isa: InstructionSet) -> None:
    """Start this program again, held to the instruction set, unless it is already or has no more."""
    if narrower(isa) and not held():
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **held_environment()})
