"""Absolute errors of luma as pictures, in a perceptually uniform colour map."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

LEVELS = 32  # colours of a map; few enough that the files stay small
PERCENTILE = 99.5  # percentage of the errors within the range; larger errors have the last colour
_COLOURS = (colormaps["inferno"](np.linspace(0, 1, LEVELS))[:, :3] * 255).round().astype(np.uint8)


def error_range(errors: Sequence[NDArray]) -> int:
    """Return the error that the last colour stands for, the same for all of `errors`: whole levels of 255, at least 1.

    Parameters
    ----------
    errors : sequence of arrays
        |SR − HR| of luma.
    """
    return max(1, math.ceil(np.percentile(np.stack(errors), PERCENTILE)))


def error_map(error: NDArray, top: float) -> Image.Image:
    """Return an array of errors as a picture with a palette; errors of `top` and more have the last colour."""
    levels = np.clip(error / top * (LEVELS - 1), 0, LEVELS - 1).round().astype(np.uint8)
    picture = Image.fromarray(levels)
    picture.putpalette(_COLOURS.tobytes())  # turns the grey levels into indices
    return picture


def gradient(stops: int = 9) -> str:
    """Return the colour map as a CSS gradient from left to right."""
    chosen = _COLOURS[np.linspace(0, LEVELS - 1, stops).round().astype(int)]
    return f"linear-gradient(to right, {', '.join('#' + bytes(colour).hex() for colour in chosen)})"
