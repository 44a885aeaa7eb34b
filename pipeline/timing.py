"""Timing functions against each other on a machine whose speed drifts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any


def alternate(functions: Mapping[str, Callable[[], Any]], repeats: int, warmup: int = 1) -> dict[str, list[float]]:
    """Run each function in turn, `repeats` rounds of all of them, so that drift meets all alike.

    Parameters
    ----------
    functions : mapping of name to callable without arguments
    repeats : int
        Counted rounds.
    warmup : int
        Rounds that are not counted: compilation, first touch of memory.

    Returns
    -------
    dict
        Name to the seconds of each counted round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for round_number in range(warmup + repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if round_number >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def summary(seconds: list[float]) -> dict[str, float]:
    """Median, minimum and maximum in milliseconds."""
    values = {"median_ms": median(seconds), "min_ms": min(seconds), "max_ms": max(seconds)}
    return {name: round(1000 * value, 3) for name, value in values.items()}
