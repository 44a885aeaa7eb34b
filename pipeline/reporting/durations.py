"""How long the stages of a run took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline import labels


@dataclass(frozen=True)
class StageRow:
    """One stage: how often it ran, how long in all, and its longest run."""

    stage: str
    runs: int
    total: str
    longest: str
    of: str


def stage_rows(seconds: Mapping[str, float]) -> list[StageRow]:
    """Return a row for every stage, the longest first, by the seconds of runs under DVC's names for them."""
    stages: dict[str, dict[str, float]] = {}
    for name, duration in seconds.items():
        stage, _, items = name.partition("@")
        stages.setdefault(stage, {})[items] = duration
    rows = []
    for stage, runs in sorted(stages.items(), key=lambda item: -sum(item[1].values())):
        longest = max(runs, key=lambda items: runs[items])
        rows.append(
            StageRow(stage, len(runs), labels.duration(sum(runs.values())), labels.duration(runs[longest]), longest)
        )
    return rows
