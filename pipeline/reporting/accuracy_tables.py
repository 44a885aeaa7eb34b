"""The tables of the section on accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline import labels
from pipeline.evaluation.gaps import image_gaps
from pipeline.params import Thresholds
from pipeline.reporting.columns import NETWORK, QUALITY, RUN_BY, WEIGHTS_COLUMN, gap_kind, level, weights_cell
from pipeline.reporting.published import published
from pipeline.reporting.results import WEIGHTS, Evaluation, Results
from pipeline.runs import Run
from pipeline.tables import Column, Table, table

MOST_IMAGES = 200  # in the page's table of a test set; beyond, a page of many sets would weigh tens of megabytes

COLUMNS = {
    "network": NETWORK,
    "weights": WEIGHTS_COLUMN,
    "by": RUN_BY,
    **QUALITY,
    "psnr_y": level("PSNR-Y", css="n strong"),
    "gain": level("gain", signed=True),
    "gap": level("gap"),
}


@dataclass(frozen=True)
class AccuracyTables:
    """All networks on one test set at one scale: the means, and the images."""

    heading: str
    means: Table
    images: Table


def accuracy_tables(results: Results, limits: Thresholds) -> list[AccuracyTables]:
    """Return the tables of every test set and scale; gaps are called small or large by the verdict's `limits`."""
    tables = []
    for name in results.test_sets:
        for scale in results.scales:
            heading = f"{name}, ×{scale}"
            rows = list(_rows(results, name, scale, limits))
            means = table(f"accuracy-{name}-x{scale}", f"Accuracy on {heading}", COLUMNS, rows, grouped=True)
            tables.append(AccuracyTables(heading, means, _images(results, name, scale)))
    return tables


def _rows(results: Results, test_set: str, scale: int, limits: Thresholds) -> Iterator[dict[str, Any]]:
    bicubic = results.bicubic[test_set, scale].means["bicubic"]
    yield {"network": "Bicubic", "weights": "", "by": "", **vars(bicubic)}
    yield from _published(test_set, scale, None)
    for model in results.models:
        real = results.evaluations[test_set, Run(model, scale, "float")].means["torch"]
        for weights in WEIGHTS:
            for backend, quality in results.evaluations[test_set, Run(model, scale, weights)].means.items():
                row = {"network": labels.model(model), "by": backend, **weights_cell(weights), **vars(quality)}
                row["gain"] = quality.psnr_y - bicubic.psnr_y
                if weights == "binary":
                    gap = real.psnr_y - quality.psnr_y
                    row |= {"gap": gap, "gap.kind": gap_kind(gap, limits)}
                yield row
        yield from _published(test_set, scale, model)


def _published(test_set: str, scale: int, model: str | None) -> Iterator[dict[str, Any]]:
    for entry in published(test_set, scale, model):
        ssim = None if entry.ssim is None else labels.number(entry.ssim, 3)  # as many decimals as its source has
        row: dict[str, Any] = {"network": entry.source, "row.kind": "published", "ssim_y": ssim}
        row["psnr_rgb" if entry.channel == "rgb" else "psnr_y"] = entry.psnr
        yield row | ({} if entry.channel else {"psnr_y.note": "Y or RGB"})


def _images(results: Results, test_set: str, scale: int) -> Table:
    scored: list[tuple[str, Evaluation, str]] = [("bicubic", results.bicubic[test_set, scale], "bicubic")]
    for model in results.models:
        for weights in WEIGHTS:
            evaluation = results.evaluations[test_set, Run(model, scale, weights)]
            name = f"{labels.model(model)} {weights}"
            scored.append((name, evaluation, "torch"))
            if "engine_int8" in evaluation.scores:
                scored.append((f"{name}, engine int8", evaluation, "engine_int8"))
    rows: dict[str, dict[str, Any]] = {}
    for name, evaluation, backend in scored:
        for image, score in evaluation.scores[backend].items():
            row = rows.setdefault(image, {"image": image})
            row |= {name: score.psnr_y, f"{name}.note": labels.number(score.ssim_y, 3)}
    columns = {"image": Column("image"), **{name: level(name, note="SSIM-Y") for name, _, _ in scored}}
    title = f"Every image of {test_set}, ×{scale}"
    if len(rows) > MOST_IMAGES:
        title = (
            f"The {MOST_IMAGES} images of {test_set}, ×{scale}, with the largest gap; "
            f"all {len(rows):,} are in results/evaluate/{test_set}"
        )
        gaps = _largest_gaps(results, test_set, scale)
        kept = set(sorted(gaps, key=lambda image: gaps[image], reverse=True)[:MOST_IMAGES])
        rows = {image: row for image, row in rows.items() if image in kept}
    return table(
        f"images-{test_set}-x{scale}",
        title,
        columns,
        list(rows.values()),
        css="images",
        caption="PSNR-Y in dB, and SSIM-Y below it; networks run by PyTorch unless said.",
    )


def _largest_gaps(results: Results, test_set: str, scale: int) -> dict[str, float]:
    """Return each image's largest gap, of all networks in PyTorch."""
    largest: dict[str, float] = {}
    for model in results.models:
        real, binary = (results.evaluations[test_set, Run(model, scale, weights)] for weights in WEIGHTS)
        for image, gap in image_gaps(real.scores["torch"], binary.scores["torch"]).items():
            largest[image] = max(gap, largest.get(image, gap))
    return largest
