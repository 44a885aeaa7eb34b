"""Parameter files with one to three wrong values: refused in one line that names the file, or accepted as a whole."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.errors import InputError
from pipeline.params import load_params
from tests.conftest import ROOT

VALUES = (
    None, True, False, 0, 1, -1, 2, 3, 10**9, 2**70, 10**400, 0.0, 0.5, 2.0, -0.5, 1e300, 1e-300, float("nan"),
    float("inf"), "", "x", "edsr", "Set5", "../x", "a\nb", "\x1b[31m", [], [2], [2.0], [2, 2], ["edsr"], [[]], {},
    {"a": 1}, "1e-3", b"\xff",
)  # fmt: skip


@cache
def _quick() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    return values


def attempt(seed: int, folder: Path) -> str:
    rng = np.random.default_rng(seed)
    values = copy.deepcopy(_quick())
    for _ in range(rng.integers(1, 4)):
        at = values
        while isinstance(at, dict) and at:
            key = list(at)[rng.integers(len(at))]
            if isinstance(at[key], dict) and rng.random() < 0.8:
                at = at[key]
                continue
            if rng.random() < 0.1:
                del at[key]
            else:
                at["more" if rng.random() < 0.05 else key] = VALUES[rng.integers(len(VALUES))]
            break
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True))
    try:
        load_params(path)
    except InputError as error:
        said = str(error)
        assert said.startswith(f"{path}: ") and said.isprintable() and len(said) < 2000
        return "refused in one line"
    return "accepted"
