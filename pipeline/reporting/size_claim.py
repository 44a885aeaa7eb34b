"""The claim on size: SRResNet 80 % smaller."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline import labels
from pipeline.params import Thresholds
from pipeline.records import Footprint
from pipeline.reporting.reservations import reduced_networks
from pipeline.reporting.results import WEIGHTS, Results
from pipeline.reporting.verdicts import Claim, Measure, Verdict, at_least
from pipeline.runs import Run
from pipeline.zoo.catalogue import pairs


def size_claim(results: Results, limits: Thresholds) -> Claim:
    """Judge "80 % smaller" by SRResNet's files at every scale: all must reach it, or the best falls short.

    The files are those of the benchmark's networks: their size does not depend on what was learned.
    """
    saved = {pair: reduction(results.footprint, *pair) for pair in results.measured_files}
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
        + (f"; {labels.percent(min(srresnet.values()))} at its worst" if len(srresnet) > 1 else ""),
        rule=f"Replicated when SRResNet saves {100 * limits.replicated:g} % at every scale, "
        f"partly when its best scale saves {100 * limits.partly:g} %.",
        conditions="Whole files: packed bits, scales and everything that stays float, against the float network saved "
        "in the same format, in the sizes of benchmark.network; file size does not depend on training. Published files "
        "store float values in 16 bits where that loses less than 0.005 dB on the validation images, so that "
        "binarization saves a smaller share of them.",
        measures=measures,
        reservations=reduced_networks(
            {("srresnet", s): results.footprint[Run("srresnet", s, "float")].parameters for s in srresnet}
        ),
    )


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
