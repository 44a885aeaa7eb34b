"""PSNR and SSIM as computed in super-resolution papers."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Channel = Literal["y", "rgb"]

# luma = LUMA_OFFSET + LUMA_WEIGHTS . RGB, for RGB in 0..1 (ITU-R BT.601)
LUMA_OFFSET = 16.0
LUMA_WEIGHTS = np.array([65.481, 128.553, 24.966])

MOST_DB = 100.0  # of a PSNR that is averaged or stored: one level of one pixel in ten thousand is 88 dB


def luma(image: NDArray) -> NDArray[np.float64]:
    """Compute the luma of an image by ITU-R BT.601, as MATLAB's `rgb2ycbcr`, but unrounded.

    Parameters
    ----------
    image : (H, W, 3) RGB array in 0..255, or (H, W) array

    Returns
    -------
    (H, W) float64 array
        In 16..235 for RGB; a grey image is returned unchanged.

    Raises
    ------
    ValueError
        For another shape.
    """
    if image.ndim == 2:
        return image.astype(np.float64)
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"luma takes HxWx3 or HxW, not an array of shape {image.shape}")
    return LUMA_OFFSET + np.einsum("hwc,c->hw", image, LUMA_WEIGHTS) / 255


def psnr(sr: NDArray, hr: NDArray, border: int = 0, channel: Channel = "y") -> float:
    """Compute the peak signal-to-noise ratio of two images, in dB, for a peak of 255.

    Parameters
    ----------
    sr, hr : (H, W, 3) or (H, W) uint8 arrays of the same shape
    border : int
        Pixels cut off each side; papers cut off as many as the scale.
    channel : {"y", "rgb"}
        Compare luma (grey images directly) or all three channels.

    Returns
    -------
    float
        Infinite for equal images.

    Raises
    ------
    ValueError
        For another dtype, unequal shapes, a border that leaves no pixels, or "rgb" for grey images.
    """
    sr, hr = _compared_pixels(sr, hr, border, channel)
    error = float(np.mean((sr - hr) ** 2))
    return 10 * math.log10(255**2 / error) if error > 0 else math.inf


def bounded_psnr(sr: NDArray, hr: NDArray, border: int = 0, channel: Channel = "y") -> float:
    """Compute the PSNR of two images, at most `MOST_DB`, which so stands for equal images.

    For means, differences and JSON, which an infinite value would spoil. Parameters and errors are those of `psnr`.
    """
    return min(psnr(sr, hr, border, channel), MOST_DB)


def ssim(sr: NDArray, hr: NDArray, border: int = 0, channel: Channel = "y") -> float:
    """Compute the mean structural similarity of two images, as the authors' MATLAB code does.

    An 11x11 Gaussian window of sigma 1.5 at every position where it fits into the image; population variances;
    K1 = 0.01, K2 = 0.03, L = 255. For "rgb", the mean over the channels.

    Parameters and errors are those of `psnr`. Images of fewer than 11 pixels a side, without their borders, also
    raise a ValueError.

    References
    ----------
    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE Trans. Image Processing 13(4), 2004.
    """
    from skimage.metrics import structural_similarity

    sr, hr = _compared_pixels(sr, hr, border, channel)
    if min(hr.shape[:2]) < 11:
        raise ValueError(f"SSIM needs 11x11 pixels inside the border, not {hr.shape[0]}x{hr.shape[1]}")
    return float(
        structural_similarity(
            sr,
            hr,
            data_range=255,
            channel_axis=2 if hr.ndim == 3 else None,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def _compared_pixels(sr: NDArray, hr: NDArray, border: int, channel: Channel) -> tuple[NDArray, NDArray]:
    """Check two images and give their pixels inside the border, as luma or RGB in float64."""
    if sr.dtype != np.uint8 or hr.dtype != np.uint8:
        raise ValueError(f"the images must be uint8, not {sr.dtype} and {hr.dtype}")
    if sr.shape != hr.shape or hr.ndim not in (2, 3):
        raise ValueError(f"the images must be HxWx3 or HxW and of the same shape, not {sr.shape} and {hr.shape}")
    if border < 0 or min(hr.shape[:2]) <= 2 * border:
        raise ValueError(f"a border of {border} leaves none of {hr.shape[0]}x{hr.shape[1]} pixels")
    inside = slice(border, -border or None)
    sr, hr = sr[inside, inside], hr[inside, inside]
    if channel == "y":
        return luma(sr), luma(hr)
    if channel != "rgb":
        raise ValueError(f'the channel must be "y" or "rgb", not {channel!r}')
    if hr.ndim != 3:
        raise ValueError("a grey image has no RGB channels to compare")
    return sr.astype(np.float64), hr.astype(np.float64)
