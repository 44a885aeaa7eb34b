"""The gaps of the published pairs, with their intervals: zoo/gaps.csv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.uncertainty import paired_interval
from pipeline.zoo.catalogue import Model, pairs, seed_pairs


def gap_table(models: Sequence[Model], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give float minus binary in dB of PSNR-Y, run by PyTorch, for every pair and every set that both have.

    Parameters
    ----------
    models : sequence of Model
    rows : sequence of mappings
        Those of zoo/results.csv: ``method``, ``set``, ``backend``, ``image``, ``psnr_y``.

    Returns
    -------
    list of dict
        ``float`` and ``binary`` (names), ``set``, ``images``, ``gap``, and ``low`` and ``high``, the ends of its 95 %
        interval (None where one image gives none).
    """
    levels: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        if row["backend"] == "torch":
            levels.setdefault((row["method"], row["set"]), {})[row["image"]] = float(row["psnr_y"])
    compared = {binary.name: (real, binary) for real, binary in pairs(models)}
    for several in seed_pairs(models).values():
        compared |= {binary.name: (real, binary) for real, binary in several}
    table = []
    for real, binary in compared.values():
        for name in [test_set for method, test_set in levels if method == binary.name]:
            if (real.name, name) in levels:
                found = paired_interval(levels[real.name, name], levels[binary.name, name])
                known = found.images > 1
                table.append(
                    {
                        "float": real.name,
                        "binary": binary.name,
                        "set": name,
                        "images": found.images,
                        "gap": round(found.mean, 4),
                        "low": round(found.low, 4) if known else None,
                        "high": round(found.high, 4) if known else None,
                    }
                )
    return table
