"""The table of published speed ratios: those that `make ratios` measured, by instruction set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline import labels
from pipeline.records import INT8, Measurement, PublishedRatios
from pipeline.reporting.speed_claim import times
from pipeline.tables import Column, Table, table


def ratio_table(published: Mapping[str, Mapping[str, PublishedRatios]]) -> Table:
    """Return the ratios of medians within each run, as their range over the runs."""
    rows, conditions = [], []
    for isa, by_name in published.items():
        if not by_name:
            continue
        title = labels.INSTRUCTION_SETS[isa]
        images = dict.fromkeys("×".join(map(str, run.lr_size)) for each in by_name.values() for run in each.runs)
        processors = dict.fromkeys(each.environment["cpu"] for each in by_name.values())
        conditions.append(f"{title}: LR image {' or '.join(images)}, {' or '.join(processors)}")
        for name, each in by_name.items():
            rows.append({"isa": title, "workload": _workload(name, each), **_cells(each.runs)})
    columns = {
        "isa": Column("instruction set"),
        "workload": Column("workload"),
        "int8": Column("int8, float layers int8\nover OpenVINO int8", css="n strong"),
        "int6": Column("int6, float layers int8\nover OpenVINO int8", css="n"),
        "exact": Column("float32 activations\nover fastest float32", css="n strong"),
        "bfloat16": Column("float32 activations, float layers\nbfloat16 over fastest float32", css="n"),
        "over_bfloat16": Column("float32 activations, float layers\nbfloat16 over OpenVINO bfloat16", css="n"),
        "integer": Column("int8, float layers int8\nover fastest float32", css="n"),
        "fastest": Column("fastest float32"),
    }
    return table("ratios", "Ratios", columns, rows, caption="; ".join(conditions), grouped=True)


def _workload(name: str, each: PublishedRatios) -> str:
    model, _, body = name.partition("-")
    if model in labels.PIECES:
        return labels.PIECES[model]
    return f"{labels.network(model, each.scale)}{', residual blocks' if body else ''}"


def _cells(runs: list[Measurement]) -> dict[str, Any]:
    baselines = dict.fromkeys(run.baseline for run in runs if run.baseline is not None)
    return {
        "int8": _span(runs, "engine_int8_all", lambda run: INT8),
        "int6": _span(runs, "engine_int6_all", lambda run: INT8),
        "exact": _span(runs, "engine_float32", lambda run: run.baseline),
        "bfloat16": _span(runs, "engine_bfloat16", lambda run: run.baseline),
        "over_bfloat16": _span(runs, "engine_bfloat16", lambda run: "openvino_bfloat16"),
        "integer": _span(runs, "engine_int8_all", lambda run: run.baseline),
        "fastest": ", ".join(labels.backend(name) for name in baselines),
    }


def _span(runs: list[Measurement], mode: str, baseline_of: Callable[[Measurement], str | None]) -> str | None:
    ratios = []
    for run in runs:
        baseline = baseline_of(run)
        if baseline in run.backends and mode in run.backends:
            ratios.append(run.backends[baseline].median_ms / run.backends[mode].median_ms)
    return labels.span(ratios, times, " – ") if ratios else None
