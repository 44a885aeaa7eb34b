"""From an 8-bit image to a network's input and back: the same for PyTorch and for the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.resize import imresize
from pipeline.errors import InputError
from pipeline.metrics import LUMA_WEIGHTS, luma

Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # C×h×w over 255 to C×H×W over 255


def upscale_image(forward: Forward, image: NDArray[np.uint8], model: str, scale: int) -> NDArray[np.uint8]:
    """Upscale an 8-bit image with a network.

    Parameters
    ----------
    forward : callable
        The network: float32 C×h×w in [0, 1] to C×H×W. C is 1 (luma of the bicubic image) for VDSR, else 3.
    image : uint8, H×W×3 or H×W
        A grey image runs as RGB with equal channels, or directly as VDSR's luma.
    model : {"srresnet", "edsr", "vdsr"}
    scale : {2, 3, 4}

    Returns
    -------
    uint8, (scale·H)×(scale·W)×3 or (scale·H)×(scale·W)

    Raises
    ------
    InputError
        If the image has another type or shape, or no pixel.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)) or image.size == 0:
        raise InputError(f"image: {image.dtype} of shape {image.shape}; give uint8 of shape H×W×3 or H×W")
    upscaled = _luma_residual(forward, image, scale) if model == "vdsr" else _rgb(forward, image)
    return np.clip(np.rint(upscaled), 0, 255).astype(np.uint8)


def _rgb(forward: Forward, image: NDArray[np.uint8]) -> NDArray[Any]:
    rgb = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    inputs = np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32) / np.float32(255)
    upscaled = forward(inputs).transpose(1, 2, 0) * np.float32(255)
    return upscaled if image.ndim == 3 else upscaled @ (LUMA_WEIGHTS / LUMA_WEIGHTS.sum())


def _luma_residual(forward: Forward, image: NDArray[np.uint8], scale: int) -> NDArray[Any]:
    bicubic = imresize(image.astype(np.float64), scale)
    y = (luma(bicubic) / 255).astype(np.float32)
    change = (forward(y[None])[0] - y).astype(np.float64) * 255
    if image.ndim == 2:
        return bicubic + change
    # At equal chroma, a change of luma moves R, G and B alike.
    return bicubic + change[:, :, None] * (255 / LUMA_WEIGHTS.sum())
