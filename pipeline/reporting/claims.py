"""The paper's three claims, and the verdicts on them."""

from __future__ import annotations

from pipeline.params import Claims
from pipeline.reporting.accuracy_claim import accuracy_claim
from pipeline.reporting.results import Results
from pipeline.reporting.size_claim import size_claim
from pipeline.reporting.speed_claim import speed_claim
from pipeline.reporting.verdicts import Claim


def judge(results: Results, thresholds: Claims) -> list[Claim]:
    """Return the three claims with the verdicts that the numbers and `thresholds` give."""
    return [
        accuracy_claim(results, thresholds.accuracy_gap_db),
        size_claim(results, thresholds.size_reduction),
        speed_claim(results, thresholds.speedup, thresholds.speedup_loss_db),
    ]
