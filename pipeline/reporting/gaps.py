"""How far binary networks are below their float twins, and the non-inferiority test on it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import isfinite

from pipeline import labels
from pipeline.evaluation.gaps import Gap, gap_of
from pipeline.params import Thresholds
from pipeline.reporting.results import WEIGHTS, Results, Zoo
from pipeline.reporting.verdicts import Measure, Verdict, at_most
from pipeline.runs import Run
from pipeline.zoo.catalogue import PublishedNetwork

FEW_IMAGES = 10  # with fewer, the percentiles of a bootstrap lie too close together


@dataclass(frozen=True)
class PairGap:
    """The gap of a pair on one test set."""

    test_set: str
    model: str
    scale: int
    variant: str
    gap: Gap

    @property
    def where(self) -> str:
        """The network and the set, in words."""
        variant = f" ({labels.variant(self.variant)})" if self.variant else ""
        return f"{labels.network(self.model, self.scale)}{variant} on {self.test_set}"

    @property
    def interval(self) -> str:
        """The interval, as `0.12 to 0.31 dB`."""
        return labels.interval(self.gap.low, self.gap.high)


def run_gaps(results: Results) -> list[PairGap]:
    """Return the gaps of every network of this run on every test set, as PyTorch runs them."""
    gaps = []
    for name in results.test_sets:
        for model, scale in results.pairs:
            runs = [Run(model, scale, weights) for weights in WEIGHTS]
            real, binary = (results.evaluations[name, run].scores["torch"] for run in runs)
            gaps.append(PairGap(name, model, scale, "", gap_of(real, binary)))
    return gaps


def published_gaps(zoo: Zoo, compared: Sequence[tuple[PublishedNetwork, PublishedNetwork]]) -> list[PairGap]:
    """Return the gaps of published pairs on every test set that both have, as PyTorch runs them."""
    gaps = []
    for real, binary in compared:
        for name in zoo.published[binary.name]:
            if name in zoo.published[real.name]:
                scores = [zoo.scores[model.name, name]["torch"] for model in (real, binary)]
                gaps.append(PairGap(name, binary.model, binary.scale, binary.variant, gap_of(*scores)))
    return gaps


def non_inferiority(gaps: Collection[PairGap], limits: Thresholds) -> Verdict:
    """Return the verdict of the non-inferiority test: on the upper ends of the gaps' intervals; one image has none."""
    highest = max(pair.gap.high for pair in gaps)
    return at_most(highest, limits) if isfinite(highest) else Verdict.UNMEASURED


def non_inferiority_rule(limits: Thresholds) -> str:
    """Return the rule of the non-inferiority test, in words."""
    return (
        "A non-inferiority test: replicated when the upper end of the 95 % interval of every gap (a paired bootstrap "
        f"over the images of a set) is at most {labels.decibels(limits.replicated)} PSNR-Y, partly up to "
        f"{labels.decibels(limits.partly)}."
    )


def gap_label(worst: PairGap) -> str:
    """Return the label of the gap in the headline."""
    return (
        f"PSNR-Y gap, float minus binary, of the pair and set that decide: {worst.where}. The upper end of its 95 % "
        f"interval, {worst.interval}, is the highest of all"
    )


def gap_measures(gaps: list[PairGap], limits: Thresholds) -> list[Measure]:
    """Return the gaps with the highest and lowest upper ends, the mean, and the largest on RGB if there is colour."""
    worst, best = (of(gaps, key=lambda pair: pair.gap.high) for of in (max, min))
    mean = sum(pair.gap.psnr_y for pair in gaps) / len(gaps)
    return [
        Measure(
            "gap whose interval has the highest upper end, PSNR-Y",
            labels.decibels(worst.gap.psnr_y),
            f"{worst.where}, {worst.interval}",
        ),
        Measure(
            "gap whose interval has the lowest upper end, PSNR-Y",
            labels.decibels(best.gap.psnr_y),
            f"{best.where}, {best.interval}",
        ),
        _counts(gaps, limits),
        Measure("mean gap, PSNR-Y", labels.decibels(mean), f"over {labels.count(len(gaps), 'comparison')}"),
        *_rgb_measure(gaps, limits),
    ]


def _counts(gaps: Sequence[PairGap], limits: Thresholds) -> Measure:
    ends = [sum(pair.gap.high <= limit for pair in gaps) for limit in (limits.replicated, limits.partly)]
    above = sum(pair.gap.low > limits.partly for pair in gaps)
    return Measure(
        f"intervals that end at most at {limits.replicated:.2f} and at {labels.decibels(limits.partly)}",
        f"{ends[0]} and {ends[1]} of {len(gaps)}",
        f"wholly above {labels.decibels(limits.partly)}: {above}",
    )


def few_images(gaps: Sequence[PairGap]) -> list[str]:
    """Return which sets have so few images that their intervals cover less than they say."""
    few = {pair.test_set: pair.gap.images for pair in gaps if 1 < pair.gap.images < FEW_IMAGES}
    if not few:
        return []
    listed = labels.listing([f"{name} ({images})" for name, images in few.items()])
    return [f"Few images, for which such an interval tends to be too narrow: {listed}."]


def _rgb_measure(gaps: list[PairGap], limits: Thresholds) -> list[Measure]:
    coloured = [(pair.gap.psnr_rgb, pair.where) for pair in gaps if pair.gap.psnr_rgb is not None]
    if not coloured:
        return []
    value, where = max(coloured)
    note = f"{where}; judged by the mean on RGB: {at_most(value, limits)}"
    return [Measure("largest gap, PSNR-RGB", labels.decibels(value), note)]
