"""The instruction sets that Numba compiles for."""

from __future__ import annotations

from llvmlite import binding
from numba import config


def instructions() -> frozenset[str]:
    """Return LLVM's names of the instruction sets that Numba compiles for, such as ``avx2``.

    Those of this processor, without AVX where ``NUMBA_ENABLE_AVX`` is 0, unless ``NUMBA_CPU_FEATURES`` names others;
    none where ``NUMBA_CPU_NAME`` is ``generic``.
    """
    features = config.CPU_FEATURES  # type: ignore[attr-defined]  # set at run time; "" for a generic processor
    if features is not None:
        return frozenset(part[1:] for part in features.split(",") if part.startswith("+"))
    off = () if config.ENABLE_AVX else "avx"  # type: ignore[attr-defined]  # set at run time
    return frozenset(name for name, on in binding.get_host_cpu_features().items() if on and not name.startswith(off))
