"""Timing of functions in turns, on a machine whose speed drifts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from pipeline.records import Timing

FEWEST = 3  # counted repeats, whatever the budget: a median needs them
# Between two functions: idle threads of the first spin for some milliseconds, on cores that the second needs.
PAUSE_SECONDS = 0.02


def alternate(
    functions: Mapping[str, Callable[[], Any]], repeats: int, warmup: int = 1, budget: float = math.inf
) -> dict[str, list[float]]:
    """Run each function in turn, `repeats` rounds of all of them, so that drift affects all alike.

    Parameters
    ----------
    functions : mapping of name to callable without arguments
    repeats : int
        Counted rounds.
    warmup : int
        Rounds that are not counted: compilation, first touch of memory.
    budget : float
        Seconds of counted runs after which a function skips further rounds; three runs at least are counted.

    Returns
    -------
    dict
        The seconds of each counted run, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for round_number in range(warmup + repeats):
        for name, function in functions.items():
            if len(seconds[name]) >= FEWEST and sum(seconds[name]) >= budget:
                continue
            time.sleep(PAUSE_SECONDS)
            start = time.perf_counter()
            function()
            if round_number >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratios(seconds: Mapping[str, Sequence[float]], baseline: str) -> dict[str, float]:
    """Return how many times as fast as the baseline each function is.

    It is the median of the ratios of each round, since runs of one round lie close together in time; rounds that one of
    both skipped do not count.
    """
    return {
        name: round(median(before / after for before, after in zip(seconds[baseline], values, strict=False)), 3)
        for name, values in seconds.items()
    }


def summary(seconds: Sequence[float]) -> Timing:
    """Summarize the seconds of repeated runs."""
    low, q1, middle, q3, high = (round(1000 * float(s), 3) for s in np.quantile(seconds, [0, 0.25, 0.5, 0.75, 1]))
    return Timing(low, q1, middle, q3, high, repeats=len(seconds))
