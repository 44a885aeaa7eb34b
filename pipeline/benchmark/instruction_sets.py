"""Holding every side of a benchmark to an instruction set.

PyTorch, oneDNN (which PyTorch and OpenVINO use) and Numba read environment variables when they load, so that a process
is held from its start. ONNX Runtime has no such variable, and PyTorch's compiler asks the processor itself: both are
left out of a held measurement.
"""

from __future__ import annotations

import os
import sys
from typing import Literal, cast

from llvmlite import binding

from pipeline.errors import InputError

InstructionSet = Literal["avx2", "avx512", "amx", "native"]
NEEDED = {
    "avx2": ("avx2", "fma"),
    "avx512": ("avx512f", "avx512bw", "avx512vl", "avx512dq"),
    "amx": ("amx-tile", "amx-int8", "amx-bf16", "avx512bf16"),
    "native": (),
}
TITLES = {"avx2": "AVX2", "avx512": "AVX-512", "amx": "AMX"}
# How LLVM's names of what is wider begin, and the variables that restrict the libraries.
WIDER = {"avx2": ("avx512", "avx10", "avxvnni", "avxifma", "avxneconvert", "amx"), "avx512": ("amx",)}
VARIABLES = {
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"},
}
HELD = "BINSR_HELD_TO"  # the variable of a process that is held
NOT_HELD = ("onnxruntime", "torch_compile")  # how the names of backends begin that cannot be held


def has(isa: InstructionSet) -> bool:
    """Return whether this processor has an instruction set."""
    features = binding.get_host_cpu_features()
    return all(features.get(name) for name in NEEDED[isa])


def narrower(isa: InstructionSet) -> bool:
    """Return whether this processor has more than the instruction set, so that programs must be held to it.

    Raises
    ------
    InputError
        If the processor does not have it.
    """
    if not has(isa):
        raise InputError(f"--isa: this processor has no {isa}; choose native")
    return any(on and name.startswith(WIDER.get(isa, ())) for name, on in binding.get_host_cpu_features().items())


def held() -> InstructionSet | None:
    """Return the instruction set that this process is held to."""
    return cast(InstructionSet | None, os.environ.get(HELD))


def held_environment(isa: InstructionSet = "avx2") -> dict[str, str]:
    """Return the variables that hold a process to AVX2, or to AVX-512."""
    features = binding.get_host_cpu_features()
    kept = [f"{'+' if on and not name.startswith(WIDER[isa]) else '-'}{name}" for name, on in features.items()]
    return {HELD: isa, "NUMBA_CPU_FEATURES": ",".join(kept), **VARIABLES[isa]}


def hold(isa: InstructionSet) -> None:
    """Start this program again, held to the instruction set, unless it is already or has no more."""
    if narrower(isa) and not held():
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **held_environment(isa)})
