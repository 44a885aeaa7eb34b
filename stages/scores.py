"""The files that the evaluation stages write: mean scores, and the scores of each image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from pipeline.data.prepared import PreparedSet
from pipeline.evaluation.protocol import Image, evaluate, means
from pipeline.files import write_csv, write_json
from pipeline.records import score_rows
from pipeline.runs import prepared_folder


def write_scores(method: str, set_name: str, scale: int, backends: Mapping[str, Callable[[Image], Image]]) -> None:
    """Evaluate a method's backends on a set and write results/evaluate/<set>/<method>.json and .csv."""
    images = PreparedSet.open(prepared_folder(set_name))
    scores = {backend: evaluate(upscale, images, scale) for backend, upscale in backends.items()}
    folder = Path("results", "evaluate", set_name)
    write_csv(folder / f"{method}.csv", score_rows(scores))
    write_json(folder / f"{method}.json", {backend: asdict(means(rows)) for backend, rows in scores.items()})
