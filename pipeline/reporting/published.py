"""Published accuracies, to compare with the measured ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Published:
    """One published mean over a test set: PSNR in dB on `channel` (None where the source does not say), SSIM."""

    source: str
    channel: str | None
    psnr: float
    ssim: float | None


def published(test_set: str, scale: int, model: str | None) -> list[Published]:
    """Return what was published for a model (None: bicubic) on a standard test set at `scale`."""
    table = _table()
    return [
        Published(
            table["sources"][row["source"]], row["channel"], row["psnr"][test_set], row.get("ssim", {}).get(test_set)
        )
        for row in table["rows"]
        if row["scale"] == scale and row["model"] == model and test_set in row["psnr"]
    ]


@cache
def _table() -> Any:
    return json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))
