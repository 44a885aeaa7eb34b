"""Size on disk: the claim that SRResNet is 80 % smaller, the packed files, and where 80 % holds and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline import labels
from pipeline.params import Thresholds
from pipeline.records import Footprint
from pipeline.reporting.columns import COUNT, NETWORK, WEIGHTS_COLUMN, weights_cell
from pipeline.reporting.reservations import reduced_networks
from pipeline.reporting.results import WEIGHTS, Results
from pipeline.reporting.verdicts import Claim, Measure, Verdict, at_least
from pipeline.runs import Run
from pipeline.tables import Column, Table, table
from pipeline.zoo.catalogue import pairs


def size_claim(results: Results, limits: Thresholds) -> Claim:
    """Judge "80 % smaller" by SRResNet's files at every scale: all must reach it, or the best falls short.

    The files are those of the benchmark's networks: their size does not depend on what was learned.
    """
    saved = {(run.model, run.scale): reduction(results.footprint, run.model, run.scale) for run in results.footprint}
    srresnet = {scale: share for (model, scale), share in saved.items() if model == "srresnet"}
    verdict, headline, measures = Verdict.UNMEASURED, "—", []
    if srresnet:
        verdict = at_least(min(srresnet.values()), max(srresnet.values()), limits)
        headline = labels.percent(max(srresnet.values()))
        measures = [
            Measure(f"SRResNet ×{scale}", labels.percent(share), _file_sizes(results.footprint, "srresnet", scale))
            for scale, share in srresnet.items()
        ]
    measures += [
        Measure(labels.network(*pair), labels.percent(share), _file_sizes(results.footprint, *pair))
        for pair, share in saved.items()
        if pair[0] != "srresnet"
    ]
    measures += [
        Measure(
            f"{labels.network(binary.model, binary.scale)}, published",
            labels.percent(1 - binary.bytes / real.bytes),
            f"{labels.byte_size(real.bytes)} to {labels.byte_size(binary.bytes)}",
        )
        for real, binary in pairs(results.zoo.models)
        if binary.model == "srresnet"
    ]
    return Claim(
        key="size",
        title="SRResNet 80 % smaller on disk",
        quote="reduce model size by 80% when applying on SRResNet",
        verdict=verdict,
        value=max(srresnet.values(), default=None),
        headline=headline,
        headline_label="reduction of SRResNet’s file size at its best scale"
        + (f"; {labels.percent(min(srresnet.values()))} at its worst" if len(srresnet) > 1 else "")
        + _published(results),
        rule=f"Replicated when SRResNet saves {100 * limits.replicated:g} % at every scale, "
        f"partly when its best scale saves {100 * limits.partly:g} %.",
        conditions="Whole files: packed bits, filter scales and everything that stays float, against the float network "
        "saved in the same format, in the sizes of benchmark.network; file size does not depend on training. Published "
        "files store float values in 16 bits where that loses less than 0.005 dB on the validation images, so that "
        "binarization saves a smaller share of them.",
        measures=measures,
        reservations=reduced_networks(
            {("srresnet", s): results.footprint[Run("srresnet", s, "float")].parameters for s in srresnet}
        ),
    )


def _published(results: Results) -> str:
    """Return what binarization saves of the published files of SRResNet, in words."""
    saved = {
        binary.scale: 1 - binary.bytes / real.bytes
        for real, binary in pairs(results.zoo.models)
        if binary.model == "srresnet"
    }
    if not saved:
        return ""
    files = labels.listing([f"{labels.percent(share)} at ×{scale}" for scale, share in saved.items()])
    return f"; of the published files, which store float values in 16 bits, {files}"


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


def reduction(files: Mapping[Run, Footprint], model: str, scale: int) -> float:
    """Return the share of the float file that binarization saves."""
    real, binary = (files[Run(model, scale, weights)].bytes for weights in WEIGHTS)
    return 1 - binary / real


def most_saved(files: Mapping[Run, Footprint], model: str, scale: int) -> float:
    """Return the share of the float file that would be saved if packed filters and their scales took no bytes."""
    real, binary = (files[Run(model, scale, weights)] for weights in WEIGHTS)
    return 1 - (binary.bytes - binary.layers["binary"]) / real.bytes


def _file_sizes(files: Mapping[Run, Footprint], model: str, scale: int) -> str:
    real, binary = (files[Run(model, scale, weights)].bytes for weights in WEIGHTS)
    return f"{labels.byte_size(real)} to {labels.byte_size(binary)}"


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
