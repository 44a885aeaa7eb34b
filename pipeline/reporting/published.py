"""Published accuracies, to compare with the measured ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter


@dataclass(frozen=True)
class Published:
    """One published mean over a test set: PSNR in dB on `channel` (None where the source does not say), SSIM."""

    source: str
    model: str | None
    channel: str | None
    psnr: float
    ssim: float | None


@dataclass(frozen=True)
class _Row:
    source: str
    model: str | None
    channel: str | None
    scale: int
    psnr: dict[str, float]
    ssim: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Table:
    sources: dict[str, str]
    rows: list[_Row]


def published(test_set: str, scale: int, models: list[str | None]) -> list[Published]:
    """Return what was published for `models` (None: bicubic) on a standard test set at `scale`."""
    table = _table()
    return [
        Published(table.sources[row.source], row.model, row.channel, row.psnr[test_set], row.ssim.get(test_set))
        for row in table.rows
        if row.scale == scale and row.model in models and test_set in row.psnr
    ]


@cache
def _table() -> _Table:
    text = Path(__file__).with_name("published.json").read_text(encoding="utf-8")
    return TypeAdapter(_Table).validate_json(text)
