"""The evaluation protocol: HR cropped to a multiple of the scale, SR as uint8, `scale` pixels cut off each border.

Equal images count as `pipeline.metrics.MOST_DB`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.data.prepared import PreparedSet
from pipeline.metrics import bounded_psnr, ssim
from pipeline.records import Quality, Score

Image = NDArray[np.uint8]


def score(name: str, sr: Image, hr: Image, scale: int) -> Score:
    """Score one SR image against its HR image."""
    rgb = bounded_psnr(sr, hr, border=scale, channel="rgb") if hr.ndim == 3 else None
    return Score(name, bounded_psnr(sr, hr, border=scale), rgb, ssim(sr, hr, border=scale))


def evaluate(upscale: Callable[[Image], Image], images: PreparedSet, scale: int) -> list[Score]:
    """Upscale and score every image of a prepared set.

    Parameters
    ----------
    upscale : callable
        Takes LR, uint8, H×W×3 or H×W, and returns SR of the same type.
    images : PreparedSet
    scale : int
    """
    return [
        score(name, upscale(images.lr(index, scale)), images.hr(index, scale), scale)
        for index, name in enumerate(images.names)
    ]


def means(scores: Sequence[Score]) -> Quality:
    """Average over a set: PSNR to 4 decimals, SSIM to 5; ``psnr_rgb`` over the colour images, None without any."""
    rgb = [s.psnr_rgb for s in scores if s.psnr_rgb is not None]
    return Quality(
        psnr_y=round(float(np.mean([s.psnr_y for s in scores])), 4),
        psnr_rgb=round(float(np.mean(rgb)), 4) if rgb else None,
        ssim_y=round(float(np.mean([s.ssim_y for s in scores])), 5),
    )
