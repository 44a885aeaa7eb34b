"""The binarization gaps of the published pairs, with their intervals: zoo/gaps.csv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.gaps import gap_of
from pipeline.records import Score
from pipeline.zoo.catalogue import PublishedNetwork, compared_pairs


def gap_rows(networks: Sequence[PublishedNetwork], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Compute float minus binary PSNR-Y in dB, run by PyTorch, for every pair and every set that both have.

    Parameters
    ----------
    networks : sequence of PublishedNetwork
    rows : sequence of mappings
        The rows of zoo/results.csv: ``method``, ``set``, ``backend``, ``image``, ``psnr_y``, ``psnr_rgb``, ``ssim_y``.

    Returns
    -------
    list of dict
        ``float`` and ``binary`` (names), ``set``, ``images``, ``gap``, and ``low`` and ``high``, the ends of its 95 %
        interval (None for a single image).
    """
    scores: dict[tuple[str, str], dict[str, Score]] = {}
    for row in rows:
        if row["backend"] == "torch":
            rgb = float(row["psnr_rgb"]) if row["psnr_rgb"] else None
            score = Score(row["image"], float(row["psnr_y"]), rgb, float(row["ssim_y"]))
            scores.setdefault((row["method"], row["set"]), {})[score.image] = score
    table = []
    for real, binary in compared_pairs(networks):
        for name in [test_set for method, test_set in scores if method == binary.name]:
            if (real.name, name) in scores:
                gap = gap_of(scores[real.name, name], scores[binary.name, name])
                low, high = (round(end, 4) if gap.images > 1 else None for end in (gap.low, gap.high))
                row = {"float": real.name, "binary": binary.name, "set": name, "images": gap.images}
                table.append(row | {"gap": round(gap.psnr_y, 4), "low": low, "high": high})
    return table
