"""The binarization gaps of the published pairs, with their intervals: zoo/gaps.csv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.uncertainty import paired_interval
from pipeline.zoo.catalogue import Model, pairs, seed_pairs


def gap_table(models: Sequence[Model], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Compute float minus binary PSNR-Y in dB, run by PyTorch, for every pair and every set that both have.

    Parameters
    ----------
    models : sequence of Model
    rows : sequence of mappings
        The rows of zoo/results.csv: ``method``, ``set``, ``backend``, ``image``, ``psnr_y``.

    Returns
    -------
    list of dict
        ``float`` and ``binary`` (names), ``set``, ``images``, ``gap``, and ``low`` and ``high``, the ends of its 95 %
        interval (None for a single image).
    """
    psnr: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        if row["backend"] == "torch":
            psnr.setdefault((row["method"], row["set"]), {})[row["image"]] = float(row["psnr_y"])
    compared = {binary.name: (real, binary) for real, binary in pairs(models)}
    for several in seed_pairs(models).values():
        compared |= {binary.name: (real, binary) for real, binary in several}
    table = []
    for real, binary in compared.values():
        for name in [test_set for method, test_set in psnr if method == binary.name]:
            if (real.name, name) in psnr:
                interval = paired_interval(psnr[real.name, name], psnr[binary.name, name])
                known = interval.images > 1
                table.append(
                    {
                        "float": real.name,
                        "binary": binary.name,
                        "set": name,
                        "images": interval.images,
                        "gap": round(interval.mean, 4),
                        "low": round(interval.low, 4) if known else None,
                        "high": round(interval.high, 4) if known else None,
                    }
                )
    return table
