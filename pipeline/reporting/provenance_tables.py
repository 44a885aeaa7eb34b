"""The tables of the section on provenance: how long each stage took, how each network was trained, and hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import labels
from pipeline.records import TrainingRecord
from pipeline.reporting.columns import COUNT, level
from pipeline.reporting.results import PreparedIndex
from pipeline.runs import Run
from pipeline.tables import Column, Table, table


def stage_table(seconds: Mapping[str, float]) -> Table:
    """Return every stage, the longest first, by the seconds of its runs under DVC's names for them."""
    stages: dict[str, dict[str, float]] = {}
    for name, duration in seconds.items():
        stage, _, items = name.partition("@")
        stages.setdefault(stage, {})[items] = duration
    rows = []
    for stage, runs in sorted(stages.items(), key=lambda item: -sum(item[1].values())):
        longest = max(runs, key=lambda items: runs[items])
        row = {"stage": stage, "runs": len(runs), "total": sum(runs.values()), "longest": runs[longest], "of": longest}
        rows.append(row)
    columns = {
        "stage": Column("stage"),
        "runs": Column("runs", css="n"),
        "total": Column("in all", labels.duration, "n strong"),
        "longest": Column("longest", labels.duration, "n"),
        "of": Column("which"),
    }
    return table("stages", "Duration of each stage", columns, rows)


def training_table(trainings: Mapping[Run, TrainingRecord]) -> Table:
    """Return how each network of this run was trained."""
    columns = {
        "run": Column("run"),
        "iterations": Column("iterations", css="n"),
        "stopped": Column("ended"),
        "seconds": Column("time", labels.duration, "n"),
        "images_per_second": Column("images/s", "{:.0f}".format, "n"),
        "batch": Column("batch", css="n"),
        "precision": Column("precision"),
        "device": Column("device"),
        "threads": Column("threads", css="n"),
        "seed": Column("seed", css="n"),
        "training_set": Column("training set"),
        "start": Column("start"),
        "loss": Column("last loss", "{:.4g}".format, "n"),
        "psnr_y": level("validation PSNR-Y"),
    }
    rows = []
    for run, training in trainings.items():
        made, planned = training.iterations, training.planned_iterations
        row: dict[str, Any] = {"run": run.name, **vars(training), "start": training.start or "fresh"}
        rows.append(row | {"iterations": f"{made:,}" + (f" of {planned:,}" if made != planned else "")})
    return table("training-record", "Training record", columns, rows)


def hash_table(prepared: Sequence[PreparedIndex]) -> Table:
    """Return the hashes of the prepared sets."""
    columns = {
        "set": Column("set"),
        "images": Column("images", COUNT, "n"),
        "file": Column("file"),
        "sha256": Column("SHA-256", css="code"),
    }
    rows = [
        {"set": index.set, "images": len(index.images), "file": file, "sha256": digest}
        for index in prepared
        for file, digest in index.sha256.items()
    ]
    return table("hashes", "Hashes of the prepared sets", columns, rows, grouped=True)
