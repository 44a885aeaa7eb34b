"""The uncertainty of a mean gap: paired bootstrap over the images of a test set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
RESAMPLES = 9999


@dataclass(frozen=True)
class Interval:
    """A mean difference with its 95 % confidence interval; infinite for fewer than two images."""

    mean: float
    low: float
    high: float
    images: int


def paired_interval(above: Mapping[str, float], below: Mapping[str, float]) -> Interval:
    """Estimate the mean of `above` minus `below` over images, by bootstrap (Efron, 1979; percentile interval).

    Both networks are scored on the same images, so each resample keeps the two values of an image together.

    Parameters
    ----------
    above, below : mapping of str to float
        PSNR in dB by image, of the same images.

    Raises
    ------
    KeyError
        If an image of `below` is not in `above`.
    """
    differences = np.array([above[image] - value for image, value in below.items()])
    mean = float(differences.mean())
    if len(differences) < 2:
        return Interval(mean, -np.inf, np.inf, len(differences))
    from scipy.stats import bootstrap  # takes a second to import, which commands without an interval need not spend

    interval = bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(0),  # fixed, so that the interval is reproducible
    ).confidence_interval
    return Interval(mean, float(interval.low), float(interval.high), len(differences))
