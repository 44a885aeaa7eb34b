"""The machine, software and commit that produced a result."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch", "numpy", "numba", "llvmlite", "pillow", "scikit-image", "safetensors", "dvc",
    "onnx", "onnxruntime", "openvino", "nncf",
)  # fmt: skip

INSTRUCTION_SETS = {  # and their flags in /proc/cpuinfo; those that matter to the engine or to training
    "AVX2": "avx2", "AVX-VNNI": "avx_vnni", "AVX-512": "avx512bw", "AVX-512 VNNI": "avx512_vnni",
    "AVX-512 VBMI": "avx512vbmi", "AVX-512 BF16": "avx512_bf16", "AMX": "amx_tile", "NEON": "asimd", "SVE": "sve",
}  # fmt: skip


def environment() -> dict[str, Any]:
    """Describe this machine and its software.

    Returns
    -------
    dict
        ``python``, ``platform``, ``cpu`` (see `cpu_model`), ``cores`` (usable by this process), ``packages`` (name to
        version, None where not installed), ``commit`` (None outside a git checkout) and ``dirty``
        (tracked files of the code were changed).
    """
    commit, dirty = _git()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": available_cores(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": commit,
        "dirty": dirty,
    }


def available_cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """Return the processor's name, with the family, model and instruction sets that identify it.

    Returns
    -------
    str
        Such as ``AMD EPYC (family 25, model 1; AVX2)``; the name alone where the system gives no more.
    """
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return platform.processor() or platform.machine()
    lines = [line.replace("\t", "").split(":", 1) for line in first.splitlines() if ":" in line]
    fields = {key: value.strip() for key, value in lines}
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    sets = [title for title, needed in INSTRUCTION_SETS.items() if needed in flags]
    if "AVX-512" in sets:
        sets.remove("AVX2")
    details = []
    if {"cpu family", "model"} <= fields.keys():
        details.append(f"family {fields['cpu family']}, model {fields['model']}")
    details += [", ".join(sets)] if sets else []
    name = fields.get("model name") or platform.processor() or platform.machine()
    return f"{name} ({'; '.join(details)})" if details else name


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git() -> tuple[str | None, bool]:
    def run(*arguments: str) -> str | None:
        try:
            process = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return process.stdout.strip()

    # dvc.lock, the zoo and the ratios hold results, not code.
    ignored = (":!dvc.lock", ":!zoo", ":!ratios")
    return run("rev-parse", "HEAD"), bool(run("status", "--porcelain", "--untracked-files=no", "--", ".", *ignored))
