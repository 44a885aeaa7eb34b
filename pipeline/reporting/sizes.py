"""The section on size: a row for every packed file, and where the paper's 80 % holds and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline import labels
from pipeline.reporting.results import Export
from pipeline.reporting.size_claim import most_saved, reduction
from pipeline.runs import Run


@dataclass(frozen=True)
class SizeRow:
    """One packed file: bytes by kind of layer, in all, and the share that binarization saves."""

    network: str
    weights: str
    parts: list[str]
    total: str
    saved: str
    most: str  # what would be saved if packed filters took no bytes
    parameters: str
    binary_parameters: str


def size_rows(files: Mapping[Run, Export]) -> list[SizeRow]:
    """Return a row for every file."""
    return [_size_row(files, run) for run in files]


def size_findings(files: Mapping[Run, Export], wanted: float) -> list[str]:
    """Say of every network at which scales it saves the share `wanted`, and what keeps it from that elsewhere."""
    found = []
    for model in dict.fromkeys(run.model for run in files):
        scales = [run.scale for run in files if run.model == model and run.weights == "binary"]
        saved = {scale: reduction(files, model, scale) for scale in scales}
        enough = [_share(scale, saved[scale]) for scale in scales if saved[scale] >= wanted]
        text = f"{labels.model(model)} saves {100 * wanted:g} % at {labels.listing(enough)}" if enough else ""
        for scale in (scale for scale in scales if saved[scale] < wanted):
            real = files[Run(model, scale, "float")]
            text += "; " if text else f"{labels.model(model)}: "
            text += (
                f"not at {_share(scale, saved[scale])}: upsampling stays float and takes "
                f"{labels.percent(real.parts.get('upsample', 0) / real.bytes)} of the float file, so that "
                f"{labels.percent(most_saved(files, model, scale))} is the most that packing can save"
            )
        found.append(f"{text}.")
    return found


def _share(scale: int, saved: float) -> str:
    return f"×{scale} ({labels.percent(saved)})"


def _size_row(files: Mapping[Run, Export], run: Run) -> SizeRow:
    export = files[run]
    named = [sum(export.parts.get(part, 0) for part in parts) for parts in labels.PARTS.values()]
    rest = export.bytes - export.header - sum(named)
    binary = run.weights == "binary"
    return SizeRow(
        network=labels.network(run.model, run.scale),
        weights=run.weights,
        parts=[f"{size:,}" for size in [*named, rest, export.header]],
        total=f"{export.bytes:,}",
        saved=labels.percent(reduction(files, run.model, run.scale)) if binary else "",
        most=labels.percent(most_saved(files, run.model, run.scale)) if binary else "",
        parameters=f"{export.parameters:,}",
        binary_parameters=f"{export.binary_parameters:,}",
    )
