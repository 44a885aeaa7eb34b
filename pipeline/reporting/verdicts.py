"""Verdicts on the claims of the paper."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.params import Thresholds


class Verdict(StrEnum):
    """The verdict on a claim."""

    REPLICATED = "replicated"
    PARTLY = "partly replicated"
    NOT = "not replicated"
    UNMEASURED = "not measured"


@dataclass(frozen=True)
class Measure:
    """One measured value beside a verdict."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, the numbers of this run and the verdict they give."""

    key: str
    title: str
    quote: str
    verdict: Verdict
    value: float | None  # dB, share or ratio; what the headline shows
    headline: str
    headline_label: str
    rule: str
    conditions: str
    measures: list[Measure] = field(default_factory=list)
    reservations: list[str] = field(default_factory=list)
    reach: str = "this run"  # the scope of the verdict where there are reservations


def at_most(value: float, limits: Thresholds) -> Verdict:
    """Return the verdict on a value that should be small."""
    if value <= limits.replicated:
        return Verdict.REPLICATED
    return Verdict.PARTLY if value <= limits.partly else Verdict.NOT


def at_least(worst: float, best: float, limits: Thresholds) -> Verdict:
    """Return the verdict on values that should be large."""
    if worst >= limits.replicated:
        return Verdict.REPLICATED
    return Verdict.PARTLY if best >= limits.partly else Verdict.NOT
