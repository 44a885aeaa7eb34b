"""The claim on accuracy: comparable results."""

from __future__ import annotations

from pipeline import labels
from pipeline.params import Thresholds
from pipeline.reporting.gaps import gap_label, gap_measures, non_inferiority, non_inferiority_rule, run_gaps
from pipeline.reporting.reservations import accuracy_reservations, below_bicubic
from pipeline.reporting.results import Results
from pipeline.reporting.verdicts import Claim, Measure, Verdict


def accuracy_claim(results: Results, limits: Thresholds) -> Claim:
    """Judge "comparable results" by the mean gaps in PSNR-Y over networks and test sets, and their intervals."""
    gaps = run_gaps(results)
    worst = max(gaps, key=lambda pair: pair.gap.high)
    return Claim(
        key="accuracy",
        title="Accuracy comparable with the float network: this run",
        quote="comparable qualitative and quantitative results as their real-weight counterparts",
        # A binary network cannot be held against a float one that has learned nothing.
        verdict=Verdict.UNMEASURED if below_bicubic(results) else non_inferiority(gaps, limits),
        value=worst.gap.psnr_y,
        headline=labels.decibels(worst.gap.psnr_y),
        headline_label=gap_label(worst),
        rule=non_inferiority_rule(limits),
        conditions=f"Means over {labels.listing(results.test_sets)}; both networks run by PyTorch in float32. "
        "The paper does not say on which channel it measures, so RGB is given too.",
        measures=[*gap_measures(gaps, limits), *_int8_measure(results)],
        reservations=accuracy_reservations(results),
    )


def _int8_measure(results: Results) -> list[Measure]:
    losses = [
        (evaluation.means["torch"].psnr_y - evaluation.means["engine_int8"].psnr_y, name, run)
        for (name, run), evaluation in results.evaluations.items()
        if "engine_int8" in evaluation.means
    ]
    if not losses:
        return []
    loss, name, run = max(losses, key=lambda entry: entry[0])
    note = f"{labels.network(run.model, run.scale)} on {name}, engine int8 against PyTorch"
    return [Measure("further loss by int8", f"{labels.number(loss, 3)} dB", note)]
