"""The instruction sets that Numba compiles for."""

from __future__ import annotations

from llvmlite import binding
from numba import config


def instructions() -> frozenset[str]:
    """Return LLVM's names of the instruction sets that Numba compiles for, such as ``avx2``.

    Those of this processor, unless ``NUMBA_CPU_FEATURES`` names others. Of a processor that ``NUMBA_CPU_NAME`` names,
    nothing is known.
    """
    features, name = config.CPU_FEATURES, config.CPU_NAME  # type: ignore[attr-defined]  # set at run time
    if features is not None:
        return frozenset(part[1:] for part in features.split(",") if part.startswith("+"))
    if name is not None:
        return frozenset()
    return frozenset(feature for feature, there in binding.get_host_cpu_features().items() if there)
