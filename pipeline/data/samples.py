"""A few LR crops as a sample of a set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.data.prepared import PreparedSet


def lr_crops(prepared: PreparedSet, scale: int, size: int, count: int, seed: int) -> list[NDArray[np.uint8]]:
    """Cut `count` LR crops at random positions, from as many different images as possible.

    Parameters
    ----------
    prepared : PreparedSet
    scale : int
    size : int
        Side of a crop in LR pixels; a smaller image gives a smaller crop.
    count : int
    seed : int

    Returns
    -------
    list of uint8 arrays, h×w×3 or h×w
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(prepared))
    crops = []
    for number in range(count):
        image = prepared.lr(int(order[number % len(order)]), scale)
        top, left = (int(rng.integers(max(length - size, 0) + 1)) for length in image.shape[:2])
        crops.append(image[top : top + size, left : left + size])
    return crops
