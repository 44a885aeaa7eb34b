"""The blocking parameters of the compiled kernels for AVX-512, fixed or tuned for this machine.

They change no result, only how soon it is there. `python -m pipeline.engine.tune` measures which are best here and
writes them to a file in the user's cache; without it the defaults below are used.
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

Kind = Literal["float32", "int8", "few", "table_float32", "table_int8", "table_int6", "bits"]

MOST_PIXELS, MOST_SUMS, MOST_STRIP = 12, 28, 4096


@dataclass(frozen=True)
class Blocking:
    """How much a microkernel and its surroundings hold.

    Attributes
    ----------
    sums : int
        Vectors of sums in registers, pixels times vectors of outputs. Of the 32 registers, the others hold what is
        read and the weights.
    strip : int
        Columns of the image whose sums, and tables for binary filters, are kept in the caches; not for few filters.
    """

    sums: int
    strip: int = 0

    def pixels(self, vectors: int) -> int:
        """Neighbouring pixels of a microkernel for so many vectors of outputs."""
        return max(1, min(MOST_PIXELS, self.sums // vectors))


# Measured on a Zen 5 server. Float tables take two registers for each pixel, hence fewer sums.
DEFAULTS: dict[Kind, Blocking] = {
    "float32": Blocking(24, 48),
    "int8": Blocking(24, 48),
    "few": Blocking(24),
    "table_float32": Blocking(16, 32),
    "table_int8": Blocking(24, 48),
    "table_int6": Blocking(24, 48),
    "bits": Blocking(24, 48),
}


def path() -> Path:
    """Where this machine's tuned parameters are kept; the folder can be set as BINSR_CACHE."""
    folder = os.environ.get("BINSR_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "binsr")
    return Path(folder).expanduser() / f"blocking-{binding.get_host_cpu_name()}.json"


_tried: dict[Kind, Blocking] = {}


@cache
def _tuned() -> dict[Kind, Blocking]:
    try:
        found = json.loads(path().read_text(encoding="utf-8"))
        read: dict[Kind, Blocking] = {
            kind: Blocking(int(found[kind]["sums"]), int(found[kind]["strip"]))
            for kind in get_args(Kind)
            if kind in found
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # no such file, or not one of ours: the defaults are always right
    return {
        kind: value
        for kind, value in read.items()
        if 0 < value.sums <= MOST_SUMS and (kind == "few" or 0 < value.strip <= MOST_STRIP)
    }


def blocking(kind: Kind) -> Blocking:
    """The parameters of one kind of kernel: `float32` and `int8` filters, `few` of them, and binary ones by table."""
    return _tried.get(kind) or _tuned().get(kind, DEFAULTS[kind])


@contextmanager
def trying(kind: Kind, value: Blocking) -> Iterator[None]:
    """Use these parameters for filters that are prepared inside the context."""
    _tried[kind] = value
    try:
        yield
    finally:
        del _tried[kind]


def keep(chosen: dict[Kind, Blocking]) -> None:
    """Write parameters to the cache, for the next process to use."""
    write_json(path(), {kind: asdict(value) for kind, value in chosen.items()})
