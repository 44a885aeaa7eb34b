"""The gap: how far a binary network is below its float twin, image by image and in the mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.evaluation.uncertainty import paired_interval
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
        If the images differ.
    """
    levels = [{image: score.psnr_y for image, score in scores.items()} for scores in (real, binary)]
    interval = paired_interval(*levels)
    pairs = [(real[image].psnr_rgb, score.psnr_rgb) for image, score in binary.items()]
    colour = [above - below for above, below in pairs if above is not None and below is not None]
    rgb = sum(colour) / len(colour) if colour else None
    return Gap(interval.mean, interval.low, interval.high, rgb, interval.images)
