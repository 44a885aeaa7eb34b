"""The gap: how far a binary network is below its float twin, image by image and in the mean, with its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.records import Score, ScoreRow

ImageScores = Mapping[str, Score | ScoreRow]  # by image, all by the same backend


@dataclass(frozen=True)
class Gap:
    """Float minus binary on one test set, in dB.

    Attributes
    ----------
    psnr_y, low, high : float
        The mean on luma, and the ends of its 95 % interval, which are infinite where one image gives none.
    psnr_rgb : float or None
        The mean on RGB over the colour images; None where there is none.
    images : int
    """

    psnr_y: float
    low: float
    high: float
    psnr_rgb: float | None
    images: int


def image_gaps(real: ImageScores, binary: ImageScores) -> dict[str, float]:
    """Return float minus binary in dB of PSNR-Y for every image that both have."""
    return {image: score.psnr_y - binary[image].psnr_y for image, score in real.items() if image in binary}


def gap_of(real: ImageScores, binary: ImageScores) -> Gap:
    """Return the gap of the scores of a float network and of a binary one on the same images.

    Raises
    ------
    KeyError
        If an image of `binary` is not in `real`.
    """
    pairs = [(real[image], score) for image, score in binary.items()]
    gaps = np.array([above.psnr_y - below.psnr_y for above, below in pairs])
    colour = [a.psnr_rgb - b.psnr_rgb for a, b in pairs if a.psnr_rgb is not None and b.psnr_rgb is not None]
    rgb = sum(colour) / len(colour) if colour else None
    return Gap(float(gaps.mean()), *_interval(gaps), rgb, len(gaps))


def _interval(gaps: NDArray[np.float64]) -> tuple[float, float]:
    """Return the interval of the mean by bootstrap over images (Efron, 1979; percentile interval).

    Both networks are scored on the same images, so each resample keeps the two values of an image together.
    """
    if len(gaps) < 2:
        return -np.inf, np.inf
    from scipy.stats import bootstrap  # takes a second to import, which commands without an interval need not spend

    interval = bootstrap(
        (gaps,),
        np.mean,
        n_resamples=9999,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(0),  # fixed, so that the interval is reproducible
    ).confidence_interval
    return float(interval.low), float(interval.high)
