"""The section on size: the packed files, and where the paper's 80 % holds and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline import labels
from pipeline.records import Footprint
from pipeline.reporting.columns import COUNT, NETWORK, WEIGHTS_COLUMN, weights_cell
from pipeline.reporting.size_claim import most_saved, reduction
from pipeline.runs import Run
from pipeline.tables import Column, Table, table


def size_table(name: str, title: str, files: Mapping[Run, Footprint]) -> Table:
    """Return a row for every file: its bytes in all and by part, and the share that binarization saves."""
    columns = {
        "network": NETWORK,
        "weights": WEIGHTS_COLUMN,
        "bytes": Column("file, bytes", COUNT, "n strong"),
        "saved": Column("saved", labels.percent, "n strong"),
        "most": Column("at most", labels.percent, "n"),
        **{part: Column(part, COUNT, "n") for part in (*labels.PARTS, "rest", "header")},
        "parameters": Column("parameters", COUNT, "n"),
        "binary_parameters": Column("of them binary", COUNT, "n"),
    }
    return table(name, title, columns, [_size_row(files, run) for run in files], grouped=True)


def size_findings(files: Mapping[Run, Footprint], required: float) -> list[str]:
    """Return where each network saves the share `required`, and what prevents it elsewhere, in words."""
    findings = []
    for model in dict.fromkeys(run.model for run in files):
        scales = [run.scale for run in files if run.model == model and run.weights == "binary"]
        saved = {scale: reduction(files, model, scale) for scale in scales}
        enough = [_share(scale, saved[scale]) for scale in scales if saved[scale] >= required]
        text = (
            f"{labels.model(model)} saves at least {100 * required:g} % at {labels.listing(enough)}" if enough else ""
        )
        for scale in (scale for scale in scales if saved[scale] < required):
            real = files[Run(model, scale, "float")]
            text += "; " if text else f"{labels.model(model)}: "
            text += (
                f"not at {_share(scale, saved[scale])}: upsampling stays float and takes "
                f"{labels.percent(real.parts.get('upsample', 0) / real.bytes)} of the float file, so that "
                f"{labels.percent(most_saved(files, model, scale))} is the most that packing can save"
            )
        findings.append(f"{text}.")
    return findings


def _share(scale: int, saved: float) -> str:
    return f"×{scale} ({labels.percent(saved)})"


def _size_row(files: Mapping[Run, Footprint], run: Run) -> dict[str, Any]:
    size = files[run]
    parts = {name: sum(size.parts.get(part, 0) for part in parts) for name, parts in labels.PARTS.items()}
    row = {"network": labels.network(run.model, run.scale), **weights_cell(run.weights), "bytes": size.bytes, **parts}
    row |= {"rest": size.bytes - size.header - sum(parts.values()), "header": size.header}
    row |= {"parameters": size.parameters, "binary_parameters": size.binary_parameters}
    if run.weights == "float":
        return row | {"saved": "", "most": ""}
    saved, most = (share(files, run.model, run.scale) for share in (reduction, most_saved))
    return row | {"saved": saved, "most": most}
