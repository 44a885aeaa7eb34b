"""The blocking parameters of the compiled kernels for AVX-512: defaults, or tuned for this machine.

They affect only the speed, not the results. `python -m pipeline.engine.tune` measures the best ones for a machine and
writes them to a file in the user's cache; without this file the defaults apply.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from llvmlite import binding

from pipeline.files import write_json

Kind = Literal["float32", "bfloat16", "int8", "few", "table_float32", "table_int8", "table_int6", "bits"]

MOST_PIXELS, MOST_SUMS, MOST_STRIP = 12, 28, 4096


@dataclass(frozen=True)
class Blocking:
    """The blocking parameters of one kind of kernel.

    Attributes
    ----------
    sums : int
        Accumulators in registers: pixels times vectors of outputs. The rest of the 32 registers hold inputs and
        weights.
    strip : int
        Columns of the image whose sums (and tables, for binary filters) are kept in the caches; unused for few filters.
    """

    sums: int
    strip: int = 0

    def pixels(self, vectors: int) -> int:
        """Return the neighbouring pixels of a microkernel with this number of vectors of outputs."""
        return max(1, min(MOST_PIXELS, self.sums // vectors))


# Measured on a Zen 5 server. Float tables take two registers per pixel, which leaves fewer for sums.
DEFAULTS: dict[Kind, Blocking] = {
    "float32": Blocking(24, 48),
    "bfloat16": Blocking(24, 48),
    "int8": Blocking(24, 48),
    "few": Blocking(24),
    "table_float32": Blocking(16, 32),
    "table_int8": Blocking(24, 48),
    "table_int6": Blocking(24, 48),
    "bits": Blocking(24, 48),
}


def path() -> Path:
    """Return the file of this machine's tuned parameters; BINSR_CACHE sets its folder."""
    folder = os.environ.get("BINSR_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "binsr")
    return Path(os.path.expanduser(folder)) / f"blocking-{binding.get_host_cpu_name()}.json"


_tried: dict[Kind, Blocking] = {}


@cache
def _tuned() -> dict[Kind, Blocking]:
    try:
        stored = json.loads(path().read_text(encoding="utf-8"))
        tuned: dict[Kind, Blocking] = {
            kind: Blocking(int(stored[kind]["sums"]), int(stored[kind]["strip"]))
            for kind in get_args(Kind)
            if kind in stored
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # no such file, or an invalid one: the defaults are always correct
    return {
        kind: value
        for kind, value in tuned.items()
        if 0 < value.sums <= MOST_SUMS and (kind == "few" or 0 < value.strip <= MOST_STRIP)
    }


def blocking(kind: Kind) -> Blocking:
    """Return the parameters of one kind of kernel: for float filters, few of them, tables, or bit planes."""
    return _tried.get(kind) or _tuned().get(kind, DEFAULTS[kind])


def described() -> dict[str, str]:
    """Return the parameters that are in use, by kind of kernel, for the record of what was timed."""
    used = {kind: (blocking(kind), " (tuned)" if kind in _tuned() else "") for kind in get_args(Kind)}
    return {
        kind: f"{value.sums} sums{f' in strips of {value.strip}' if value.strip else ''}{tuned}"
        for kind, (value, tuned) in used.items()
    }


@contextmanager
def trying(kind: Kind, value: Blocking) -> Iterator[None]:
    """Use these parameters for filters that are arranged inside the context."""
    _tried[kind] = value
    try:
        yield
    finally:
        del _tried[kind]


def keep(chosen: dict[Kind, Blocking]) -> None:
    """Write parameters to the user's cache, for later processes."""
    write_json(path(), {kind: asdict(value) for kind, value in chosen.items()})
