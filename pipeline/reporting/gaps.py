"""How far binary networks are below their float twins, and the equivalence test on it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pipeline import labels
from pipeline.evaluation.uncertainty import paired_interval
from pipeline.params import Thresholds
from pipeline.reporting.results import WEIGHTS, ImageQuality, Quality, Results
from pipeline.reporting.verdicts import Measure, Verdict, at_most, count
from pipeline.runs import Run


@dataclass(frozen=True)
class Gap:
    """How far a binary network is below a float one on one test set, in dB: means, and the interval on luma."""

    test_set: str
    model: str
    scale: int
    psnr_y: float
    low: float
    high: float
    images: int
    psnr_rgb: float | None
    variant: str = ""

    @property
    def network(self) -> str:
        """The network in words."""
        return labels.network(self.model, self.scale) + (f", {labels.variant(self.variant)}" if self.variant else "")

    @property
    def where(self) -> str:
        """The network and the set, in words."""
        return f"{self.network} on {self.test_set}"

    @property
    def interval(self) -> str:
        """The interval, as `0.12 to 0.31 dB`."""
        return labels.interval(self.low, self.high)


def gaps(results: Results) -> list[Gap]:
    """Return float minus binary, as PyTorch runs them, for every network and test set."""
    found = []
    for name in results.test_sets:
        for model, scale in results.pairs:
            real, binary = (results.evaluations[name, Run(model, scale, weights)].means["torch"] for weights in WEIGHTS)
            images = [results.evaluations[name, Run(model, scale, weights)].images for weights in WEIGHTS]
            found.append(make_gap(name, model, scale, (real, binary), images))
    return found


def make_gap(
    test_set: str,
    model: str,
    scale: int,
    means: tuple[Quality, Quality],
    images: Sequence[Sequence[ImageQuality]],
    variant: str = "",
) -> Gap:
    """Return float minus binary on one set, by the means and every image of the float and of the binary network."""
    real, binary = means
    above, below = ({row.image: row.psnr_y for row in rows if row.backend == "torch"} for rows in images)
    found = paired_interval(above, below)
    rgb = None
    if real.psnr_rgb is not None and binary.psnr_rgb is not None:
        rgb = real.psnr_rgb - binary.psnr_rgb
    gap = real.psnr_y - binary.psnr_y  # of the published means, so that it is theirs to the last digit
    return Gap(test_set, model, scale, gap, found.low, found.high, found.images, rgb, variant)


def equivalence(found: Collection[Gap], limits: Thresholds) -> Verdict:
    """Return the verdict of the equivalence test: on the upper ends of the gaps' intervals."""
    return at_most(max(gap.high for gap in found), limits)


def equivalence_rule(limits: Thresholds) -> str:
    """Say the equivalence test."""
    return (
        "An equivalence test: replicated when the upper end of the 95 % interval of every gap (a paired bootstrap over "
        f"the images of a set) is at most {labels.decibels(limits.replicated)} PSNR-Y, partly up to "
        f"{labels.decibels(limits.partly)}."
    )


def gap_label(worst: Gap) -> str:
    """Say what the gap in the headline is."""
    return f"largest loss of PSNR-Y by binarization, float minus binary: {worst.where}; 95 % interval {worst.interval}"


def gap_measures(found: list[Gap], limits: Thresholds) -> list[Measure]:
    """Return the largest, smallest and mean gap on luma, and the largest on RGB where there is colour."""
    worst, best = max(found, key=lambda gap: gap.high), min(found, key=lambda gap: gap.high)
    mean = sum(gap.psnr_y for gap in found) / len(found)
    return [
        Measure("largest gap, PSNR-Y", labels.decibels(worst.psnr_y), f"{worst.where}, {worst.interval}"),
        Measure("smallest gap, PSNR-Y", labels.decibels(best.psnr_y), f"{best.where}, {best.interval}"),
        Measure("mean gap, PSNR-Y", labels.decibels(mean), f"over {count(len(found), 'comparison')}"),
        *_rgb_measure(found, limits),
    ]


def _rgb_measure(found: list[Gap], limits: Thresholds) -> list[Measure]:
    coloured = [(gap.psnr_rgb, gap.where) for gap in found if gap.psnr_rgb is not None]
    if not coloured:
        return []
    value, where = max(coloured)
    note = f"{where}; judged on RGB: {at_most(value, limits)}"
    return [Measure("largest gap, PSNR-RGB", labels.decibels(value), note)]
