"""Where and with what a number was made."""

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


def environment() -> dict[str, Any]:
    """Describe this machine and its software.

    Returns
    -------
    dict
        ``python``, ``platform``, ``cpu`` (model name), ``cores`` (usable by this process), ``packages`` (name to
        version, None where not installed), ``commit`` (None outside a git checkout) and ``dirty``
        (tracked files of the code were changed).
    """
    commit, dirty = _git()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": commit,
        "dirty": dirty,
    }


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git() -> tuple[str | None, bool]:
    def run(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    # dvc.lock, the zoo and the ratios record what was run, trained and timed: they say nothing of the code.
    ignored = (":!dvc.lock", ":!zoo", ":!ratios")
    return run("rev-parse", "HEAD"), bool(run("status", "--porcelain", "--untracked-files=no", "--", ".", *ignored))
