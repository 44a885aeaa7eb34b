"""The claim on speed: inference potentially 5× faster."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from pipeline import labels
from pipeline.networks import NETWORKS
from pipeline.params import Thresholds
from pipeline.records import INT8, Measurement
from pipeline.reporting.reservations import reduced_networks
from pipeline.reporting.results import Results
from pipeline.reporting.verdicts import Claim, Measure, Verdict, at_least
from pipeline.runs import Run


def speed_claim(results: Results, limits: Thresholds, loss_limit: float) -> Claim:
    """Judge "5× faster" by whole networks, each with its fastest engine mode, against the fastest float32 runtime.

    A mode that loses more than `loss_limit` dB of luma by its rounding, on any test set, does not count, nor does one
    whose loss was not measured.
    """
    fastest = {
        pair: mode
        for pair, benchmark in results.benchmarks.items()
        if (mode := _fastest(results, pair, benchmark, loss_limit)) is not None
    }
    engines = dict.fromkeys(engine for benchmark in results.benchmarks.values() for engine in benchmark.engines)
    verdict, headline, measures = Verdict.UNMEASURED, "—", []
    conditions, reached = "No network was timed.", ""
    if fastest:
        best, worst = max(fastest, key=lambda p: fastest[p]), min(fastest, key=lambda p: fastest[p])
        reached = f": {_reached(results, best, fastest[best][1], fastest[worst][0])}"
        verdict = at_least(fastest[worst][0], fastest[best][0], limits)
        headline = f"{times(fastest[best][0])}"
        measures = [
            _speed_measure("best network", best, *fastest[best]),
            _speed_measure("worst network", worst, *fastest[worst]),
            *(measure for engine in engines for measure in _engine_measure(results, engine)),
            *_quantized_measure(results),
        ]
        timed = next(iter(results.benchmarks.values()))
        scales = labels.listing(list(dict.fromkeys(f"×{scale}" for _, scale in results.benchmarks)))
        cpu = timed.environment.get("cpu", "an unnamed CPU")
        conditions = (
            f"Whole networks in the sizes of benchmark.network, at {scales}, on an LR image of "
            f"{'×'.join(map(str, timed.lr_size))}, with {labels.count(timed.threads, 'thread')} of {cpu}: the "
            f"float network in the fastest float32 runtime of this run ({_baselines(results)}) against the binary "
            "network in this project’s engine, both keeping "
            "their memory from image to image. The weights are untrained, since time does not depend on them. The loss "
            "by rounding is the largest on any test set, of the published networks of the same model and of this run’s "
            "own network; the latter counts only if it is as large as the network timed, or if none of the model is "
            "published."
        )
    return Claim(
        key="speed",
        title="Inference potentially 5× faster",
        quote="could potentially speed up inference by 5×",
        verdict=verdict,
        value=max(fastest.values())[0] if fastest else None,
        headline=headline,
        headline_label=f"speed-up over the fastest float32 runtime, best network{reached}",
        rule=f"Replicated when every network is at least {limits.replicated:g}× as fast with its fastest engine "
        f"mode, partly when the best is at least {limits.partly:g}×; modes that lose more than {loss_limit:g} dB "
        "PSNR-Y by rounding do not count.",
        conditions=conditions,
        measures=measures,
        reservations=[
            *reduced_networks({pair: results.benchmarks[pair].parameters for pair in fastest}),
            *_exactly(results, {engine for _, engine in fastest.values()}, limits),
            *_elsewhere(results, limits, loss_limit),
        ]
        if fastest
        else [],
    )


def _fastest(
    results: Results, pair: tuple[str, int], timed: Measurement, loss_limit: float
) -> tuple[float, str] | None:
    """Return the speed-up of the fastest engine mode that counts, and its name."""
    losses = {engine: further_loss(results, engine, pair) for engine in timed.engines}
    near = [engine for engine, loss in losses.items() if loss is not None and loss <= loss_limit]
    return max(((ratio, engine) for engine in near if (ratio := timed.speed(engine)) is not None), default=None)


def _exactly(results: Results, fastest: Collection[str], limits: Thresholds) -> list[str]:
    """Return the verdict with the paper's float32 activations alone, where other modes are the `fastest`."""
    exact = _speeds(results, "engine_float32")
    if not exact or set(fastest) == {"engine_float32"}:
        return []
    return [
        f"The fastest modes round activations, which the paper does not do. With float32 activations alone, "
        f"{labels.span(exact, times)}, the claim is {at_least(min(exact), max(exact), limits)}."
    ]


def _elsewhere(results: Results, limits: Thresholds, loss_limit: float) -> list[str]:
    """Return the verdicts by the same rule on the published ratios, of other image sizes, processors and scales."""
    found = []
    for isa, by_name in results.ratios.items():
        networks = [each for name, each in by_name.items() if name in NETWORKS]
        runs = [((each.model, each.scale), run) for each in networks for run in each.runs]
        modes = [_fastest(results, pair, run, loss_limit) for pair, run in runs]
        ratios = [mode[0] for mode in modes if mode is not None]
        if ratios:
            scales = labels.listing(list(dict.fromkeys(f"×{scale}" for (_, scale), _ in runs)))
            sizes = labels.listing(list(dict.fromkeys("×".join(map(str, run.lr_size)) for _, run in runs)))
            verdict = at_least(min(ratios), max(ratios), limits)
            where = f"{labels.INSTRUCTION_SETS[isa]} ({scales}, LR image {sizes})"
            found.append(f"{where} {labels.span(ratios, times)}, {verdict}")
    if not found:
        return []
    return [f"By the same rule, over networks and runs of `make ratios`: {'; '.join(found)}."]


def further_loss(results: Results, engine: str, pair: tuple[str, int] | None = None) -> float | None:
    """Return the largest loss of PSNR-Y by an engine mode beside PyTorch, over this run's and the published networks.

    `pair` is one of this run's networks, with which go the published ones of its model at every scale. Where there are
    any, one of this run's that is smaller than the network that is timed does not count. Neither do variants, binarized
    otherwise than those that are timed. By default all other networks do. None where none was evaluated.
    """
    published = [model for model in results.zoo.models if model.weights == "binary" and not model.variant]
    covered = {model.model for model in published if results.zoo.published[model.name]}
    means = [
        evaluation.means
        for (_, run), evaluation in results.evaluations.items()
        if run.weights == "binary" and pair in (None, (run.model, run.scale))
        if run.model not in covered or not _smaller_than_timed(results, run)
    ]
    means += [
        means_of_set
        for model in published
        if pair is None or model.model == pair[0]
        for means_of_set in results.zoo.published[model.name].values()
    ]
    losses = [mean["torch"].psnr_y - mean[engine].psnr_y for mean in means if engine in mean]
    return max(0.0, *losses) if losses else None


def _smaller_than_timed(results: Results, run: Run) -> bool:
    """Return whether this run's network has fewer parameters than the one of its name that was timed."""
    timed = results.benchmarks.get((run.model, run.scale))
    return timed is not None and results.exports[replace(run, weights="float")].parameters < timed.parameters


def times(ratio: float) -> str:
    """Return a ratio as `5.0×`, with more digits below one."""
    return f"{ratio:.{1 if ratio >= 0.95 else 2}f}×"


def _speed_measure(label: str, pair: tuple[str, int], ratio: float, engine: str) -> Measure:
    return Measure(label, times(ratio), f"{labels.network(*pair)}, {labels.backend(engine)}")


def _engine_measure(results: Results, engine: str) -> list[Measure]:
    ratios = _speeds(results, engine)
    if not ratios:
        return []
    loss = further_loss(results, engine)
    cost = f"; loses up to {labels.number(loss, 3)} dB by rounding" if loss is not None and loss >= 0.0005 else ""
    return [
        Measure(
            labels.backend(engine), labels.span(ratios, times), f"over {labels.count(len(ratios), 'network')}{cost}"
        )
    ]


def _quantized_measure(results: Results) -> list[Measure]:
    """Return the speed-up by quantization alone, without binarization."""
    ratios = _speeds(results, INT8)
    if not ratios:
        return []
    lost = _lost_by_quantizing(results)
    cost = "" if lost is None else f"; lose up to {labels.number(lost, 3)} dB by rounding"
    return [Measure("OpenVINO, int8", labels.span(ratios, times), f"float networks, quantized but not binarized{cost}")]


def _lost_by_quantizing(results: Results) -> float | None:
    """Return the largest loss of a published float network by OpenVINO's int8, in dB; None where none was measured."""
    models = [model for model in results.zoo.models if model.weights == "float"]
    means = [each for model in models for each in results.zoo.published[model.name].values()]
    return max((mean["torch"].psnr_y - mean[INT8].psnr_y for mean in means if INT8 in mean), default=None)


def _reached(results: Results, pair: tuple[str, int], engine: str, worst: float) -> str:
    """Return in words where the best ratio was reached, the `worst`, and those of the paper and of int8 alone."""
    parts = [f"{labels.network(*pair)} ({labels.backend(engine)}) over {_baseline(results, pair)}"]
    parts += [f"worst network: {times(worst)}"] if len(results.benchmarks) > 1 else []
    exact, quantized = _speeds(results, "engine_float32"), _speeds(results, INT8)
    if exact and engine != "engine_float32":
        networks = labels.count(len(exact), "network")
        parts.append(f"with float32 activations, which are the paper’s, {labels.span(exact, times)} over {networks}")
    if quantized:
        lost = _lost_by_quantizing(results)
        cost = "" if lost is None else f", at a loss of up to {labels.decibels(lost)}"
        parts.append(
            f"float networks quantized to int8 by OpenVINO, without binarization, {labels.span(quantized, times)}{cost}"
        )
    return "; ".join(parts)


def _baseline(results: Results, pair: tuple[str, int]) -> str:
    """Return the name of the fastest float32 runtime of a network."""
    baseline = results.benchmarks[pair].baseline
    return "none" if baseline is None else labels.backend(baseline)


def _baselines(results: Results) -> str:
    return "; ".join(f"{labels.network(*pair)}: {_baseline(results, pair)}" for pair in results.benchmarks)


def _speeds(results: Results, backend: str) -> list[float]:
    """Return the speed-up of a backend over the fastest float32 runtime on each network."""
    return [ratio for timed in results.benchmarks.values() if (ratio := timed.speed(backend)) is not None]
