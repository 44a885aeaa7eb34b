"""The rows of the report's tables, as text ready to print."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline import labels
from pipeline.params import Thresholds
from pipeline.reporting.published import published
from pipeline.reporting.results import WEIGHTS, Evaluation, Quality, Results
from pipeline.runs import Run

NONE = "–"


@dataclass(frozen=True)
class AccuracyRow:
    """One network on one test set: means as text, gain over bicubic, gap below the float network."""

    network: str
    weights: str
    by: str
    psnr_y: str
    psnr_rgb: str
    ssim_y: str
    gain: str = NONE
    gap: str = NONE
    gap_kind: str = ""  # small, middle or large
    kind: str = "measured"  # or "bicubic", "published", "published-unknown" (the source names no channel)
    starts: bool = False  # the first row of its network


@dataclass(frozen=True)
class ImageTable:
    """PSNR-Y and SSIM-Y of every image: a column for bicubic and for each network and backend."""

    columns: list[str]
    rows: list[tuple[str, list[tuple[str, str]]]]


@dataclass(frozen=True)
class AccuracyTable:
    """All networks on one test set at one scale."""

    test_set: str
    scale: int
    rows: list[AccuracyRow]
    images: ImageTable


def accuracy_tables(results: Results, limits: Thresholds) -> list[AccuracyTable]:
    """Return a table for every test set and scale; gaps are called small, middle or large by the verdict's `limits`."""
    return [
        AccuracyTable(name, scale, _accuracy_rows(results, name, scale, limits), _images(results, name, scale))
        for name in results.test_sets
        for scale in results.scales
    ]


def gap_kind(gap: float, limits: Thresholds) -> str:
    """Return what a gap is called by the verdict's limits: ``small``, ``middle`` or ``large``."""
    return "small" if gap <= limits.replicated else "middle" if gap <= limits.partly else "large"


def _accuracy_rows(results: Results, test_set: str, scale: int, limits: Thresholds) -> list[AccuracyRow]:
    bicubic = results.bicubic[test_set, scale].means["bicubic"]
    rows = [AccuracyRow("Bicubic", "", "", *quality_cells(bicubic), kind="bicubic", starts=True)]
    rows += _published_rows(test_set, scale, None)
    for model in results.models:
        real = results.evaluations[test_set, Run(model, scale, "float")].means["torch"]
        for weights in WEIGHTS:
            means = results.evaluations[test_set, Run(model, scale, weights)].means
            for backend, quality in means.items():
                rows.append(
                    AccuracyRow(
                        labels.model(model),
                        weights,
                        labels.backend(backend),
                        *quality_cells(quality),
                        gain=labels.number(quality.psnr_y - bicubic.psnr_y, 2, signed=True),
                        gap=NONE if weights == "float" else labels.number(real.psnr_y - quality.psnr_y, 2),
                        gap_kind="" if weights == "float" else gap_kind(real.psnr_y - quality.psnr_y, limits),
                        starts=weights == "float" and backend == "torch",
                    )
                )
        rows += _published_rows(test_set, scale, model)
    return rows


def _published_rows(test_set: str, scale: int, model: str | None) -> list[AccuracyRow]:
    rows = []
    for entry in published(test_set, scale, [model]):
        psnr = labels.number(entry.psnr, 2)
        rows.append(
            AccuracyRow(
                network=entry.source,
                weights="",
                by="",
                psnr_y=NONE if entry.channel == "rgb" else psnr,
                psnr_rgb=psnr if entry.channel == "rgb" else NONE,
                ssim_y=NONE if entry.ssim is None else labels.number(entry.ssim, 3),
                kind="published" if entry.channel else "published-unknown",
            )
        )
    return rows


def quality_cells(quality: Quality) -> tuple[str, str, str]:
    """Return PSNR-Y, PSNR-RGB and SSIM-Y as text."""
    rgb = NONE if quality.psnr_rgb is None else labels.number(quality.psnr_rgb, 2)
    return labels.number(quality.psnr_y, 2), rgb, labels.number(quality.ssim_y, 4)


def _images(results: Results, test_set: str, scale: int) -> ImageTable:
    columns: list[tuple[str, Evaluation, str]] = [("bicubic", results.bicubic[test_set, scale], "bicubic")]
    for model in results.models:
        for weights in WEIGHTS:
            evaluation = results.evaluations[test_set, Run(model, scale, weights)]
            name = f"{labels.model(model)} {weights}"
            columns.append((name, evaluation, "torch"))
            if "engine_int8" in evaluation.means:
                columns.append((f"{name}, engine int8", evaluation, "engine_int8"))
    cells = [
        {row.image: (labels.number(row.psnr_y, 2), labels.number(row.ssim_y, 3)) for row in evaluation.images
         if row.backend == backend}
        for _, evaluation, backend in columns
    ]  # fmt: skip
    rows = [(image, [column.get(image, (NONE, NONE)) for column in cells]) for image in cells[0]]
    return ImageTable([name for name, _, _ in columns], rows)
