"""The columns and cells that several of the report's tables have."""

from __future__ import annotations

from pipeline import labels
from pipeline.params import Thresholds
from pipeline.tables import Column

NETWORK, WEIGHTS_COLUMN, RUN_BY = Column("network"), Column("weights"), Column("run by", labels.backend, "by")
COUNT = "{:,}".format


def level(title: str, digits: int = 2, signed: bool = False, css: str = "n", note: str = "") -> Column:
    """Return a column of numbers with `digits` decimals; a text is shown unchanged."""
    return Column(title, lambda x: x if isinstance(x, str) else labels.number(x, digits, signed), css, note)


QUALITY = {"psnr_y": level("PSNR-Y"), "psnr_rgb": level("PSNR-RGB"), "ssim_y": level("SSIM-Y", 4)}


def gap_kind(gap: float, limits: Thresholds) -> str:
    """Return the CSS classes of a gap by the verdict's limits: ``gap`` with ``small``, ``middle`` or ``large``."""
    return f"gap {'small' if gap <= limits.replicated else 'middle' if gap <= limits.partly else 'large'}"


def weights_cell(weights: str) -> dict[str, str]:
    """Return the cell that says which weights a network has."""
    return {"weights": weights, "weights.kind": f"weights {weights}"}
