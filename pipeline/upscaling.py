"""From an 8-bit or 16-bit image to a network's input and back: the same for PyTorch and for the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.data.resize import imresize
from pipeline.errors import InputError
from pipeline.metrics import LUMA_WEIGHTS, luma
from pipeline.networks import NETWORKS

Depth = TypeVar("Depth", bound=np.uint8 | np.uint16)
Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # C×h×w over 255 to C×H×W over 255


def upscale_image(forward: Forward, image: NDArray[Depth], model: str, scale: int) -> NDArray[Depth]:
    """Upscale an image with a network.

    Parameters
    ----------
    forward : callable
        The network: float32 C×h×w in [0, 1] to C×H×W. C is 1 (luma of the bicubic image) for networks on luma, else 3.
    image : uint8 or uint16, H×W×3 or H×W
        A grey image runs as RGB with equal channels, or directly as luma.
    model : str
        One of `pipeline.runs.MODELS`.
    scale : {2, 3, 4}

    Returns
    -------
    of the image's type, (scale·H)×(scale·W)×3 or (scale·H)×(scale·W)

    Raises
    ------
    InputError
        If the image has another type or shape, or no pixel.
    """
    known = image.dtype in (np.uint8, np.uint16) and image.ndim in (2, 3) and image.shape[2:] in ((), (3,))
    if not known or image.size == 0:
        raise InputError(f"image: {image.dtype} of shape {image.shape}; give uint8 or uint16 of shape H×W×3 or H×W")
    peak = np.iinfo(image.dtype).max
    unit = np.float32(peak / 255)  # 1 or 257, so that the networks' sums are those of 8 bits, with a fraction
    levels = image.astype(np.float32) / unit
    upscaled = _luma_residual(forward, levels, scale) if NETWORKS[model].on_luma else _rgb(forward, levels)
    return np.clip(np.rint(upscaled * unit), 0, peak).astype(image.dtype)


def _rgb(forward: Forward, image: NDArray[np.float32]) -> NDArray[Any]:
    rgb = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    inputs = np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32) / np.float32(255)
    upscaled = forward(inputs).transpose(1, 2, 0) * np.float32(255)
    return upscaled if image.ndim == 3 else upscaled @ (LUMA_WEIGHTS / LUMA_WEIGHTS.sum())


def _luma_residual(forward: Forward, image: NDArray[np.float32], scale: int) -> NDArray[Any]:
    bicubic = imresize(image.astype(np.float64), scale)
    y = (luma(bicubic) / 255).astype(np.float32)
    change = (forward(y[None])[0] - y).astype(np.float64) * 255
    if image.ndim == 2:
        return bicubic + change
    # At equal chroma, a change of luma moves R, G and B alike.
    return bicubic + change[:, :, None] * (255 / LUMA_WEIGHTS.sum())
