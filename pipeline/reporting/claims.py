"""The paper's three claims, and what this run's numbers say about each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.params import Claims, Thresholds
from pipeline.reporting import labels
from pipeline.reporting.results import WEIGHTS, Export, ImageQuality, Quality, Results
from pipeline.runs import PAPER_ITERATIONS, Run, is_brief
from pipeline.uncertainty import paired_interval
from pipeline.zoo.catalogue import pairs

# Below these counts a float network is a reduced version of its paper's. The smallest full ones (×2) have
# 1.40 M (SRResNet), 1.37 M (EDSR baseline) and 0.665 M (VDSR) parameters.
FULL_PARAMETERS = {"srresnet": 1_350_000, "edsr": 1_350_000, "vdsr": 660_000}
STANDARD_SETS = ("Set5", "Set14", "B100", "Urban100")


class Verdict(StrEnum):
    """What the numbers say about a claim."""

    REPLICATED = "replicated"
    PARTLY = "partly replicated"
    NOT = "not replicated"
    UNMEASURED = "not measured"


@dataclass(frozen=True)
class Measure:
    """One measured value beside a verdict."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, the numbers of this run and the verdict they give."""

    key: str
    title: str
    quote: str
    verdict: Verdict
    value: float | None  # dB, share or ratio; what the headline shows
    headline: str
    headline_label: str
    rule: str
    conditions: str
    measures: list[Measure] = field(default_factory=list)
    reservations: list[str] = field(default_factory=list)
    reach: str = "this run"  # what the verdict holds for where there are reservations


@dataclass(frozen=True)
class Gap:
    """How far a binary network is below a float one on one test set, in dB: means, and the interval on luma."""

    test_set: str
    model: str
    scale: int
    psnr_y: float
    low: float
    high: float
    images: int
    psnr_rgb: float | None
    variant: str = ""

    @property
    def network(self) -> str:
        """The network in words."""
        return labels.network(self.model, self.scale) + (f", {labels.variant(self.variant)}" if self.variant else "")

    @property
    def where(self) -> str:
        """The network and the set, in words."""
        return f"{self.network} on {self.test_set}"

    @property
    def interval(self) -> str:
        """The interval, as `0.12 to 0.31 dB`."""
        return labels.interval(self.low, self.high)


def judge(results: Results, thresholds: Claims) -> list[Claim]:
    """Return the three claims with the verdicts that the numbers and `thresholds` give."""
    return [
        accuracy_claim(results, thresholds.accuracy_gap_db),
        size_claim(results, thresholds.size_reduction),
        speed_claim(results, thresholds.speedup, thresholds.speedup_loss_db),
    ]


def accuracy_claim(results: Results, limits: Thresholds) -> Claim:
    """Judge "comparable results" by the mean gaps in PSNR-Y over networks and test sets, and their intervals."""
    found = gaps(results)
    worst = max(found, key=lambda gap: gap.high)
    return Claim(
        key="accuracy",
        title="Accuracy comparable with the float network: this run",
        quote="comparable qualitative and quantitative results as their real-weight counterparts",
        # A binary network cannot be held against a float one that has learned nothing.
        verdict=Verdict.UNMEASURED if below_bicubic(results) else equivalence(found, limits),
        value=worst.psnr_y,
        headline=labels.decibels(worst.psnr_y),
        headline_label=gap_label(worst),
        rule=equivalence_rule(limits),
        conditions=f"Means over {labels.listing(results.test_sets)}; both networks run by PyTorch in float32. "
        "The paper does not say on which channel it measures, so RGB is given too.",
        measures=[*gap_measures(found, limits), *_int8_measure(results)],
        reservations=accuracy_reservations(results),
    )


def size_claim(results: Results, limits: Thresholds) -> Claim:
    """Judge "80 % smaller" by SRResNet's files at every scale: all must reach it, or the best falls short.

    The files are those of the benchmark's networks: their size does not depend on what was learned.
    """
    saved = {pair: reduction(results.footprint, *pair) for pair in results.measured_files}
    mine = {scale: share for (model, scale), share in saved.items() if model == "srresnet"}
    verdict, headline, measures = Verdict.UNMEASURED, "—", []
    if mine:
        verdict = _at_least(min(mine.values()), max(mine.values()), limits)
        headline = labels.percent(max(mine.values()))
        measures = [
            Measure(f"SRResNet ×{scale}", labels.percent(share), _file_sizes(results.footprint, "srresnet", scale))
            for scale, share in mine.items()
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
        value=max(mine.values(), default=None),
        headline=headline,
        headline_label="saved on disk by SRResNet, at its best scale",
        rule=f"Replicated when SRResNet saves {100 * limits.replicated:g} % at every scale, "
        f"partly when its best scale saves {100 * limits.partly:g} %.",
        conditions="Whole files: packed bits, scales and everything that stays float, against the float network saved "
        "in the same format, in the sizes of benchmark.network. No training is needed to weigh them. Published files "
        "keep what stays float in 16 bits where that costs no accuracy: of these binarization saves less.",
        measures=measures,
        reservations=_reduced(
            {("srresnet", s): results.footprint[Run("srresnet", s, "float")].parameters for s in mine}
        ),
    )


def speed_claim(results: Results, limits: Thresholds, loss_limit: float) -> Claim:
    """Judge "5× faster" by whole networks, each with its fastest engine mode, against PyTorch channels_last.

    A mode that loses more than `loss_limit` dB of luma by its rounding, on any test set, does not count, nor does one
    whose loss nobody measured.
    """
    fastest = {}
    for pair, benchmark in results.benchmarks.items():
        losses = {engine: further_loss(results, engine, pair) for engine in benchmark.engines}
        near = [engine for engine, loss in losses.items() if loss is not None and loss <= loss_limit]
        ratios = [(ratio, engine) for engine in near if (ratio := benchmark.speed(engine)) is not None]
        if ratios:
            fastest[pair] = max(ratios)
    engines = dict.fromkeys(engine for benchmark in results.benchmarks.values() for engine in benchmark.engines)
    verdict, headline, measures = Verdict.UNMEASURED, "—", []
    conditions, reached = "No network was timed.", ""
    if fastest:
        best, worst = max(fastest, key=lambda p: fastest[p]), min(fastest, key=lambda p: fastest[p])
        reached = f": {_reached(results, best, fastest[best][1])}"
        verdict = _at_least(fastest[worst][0], fastest[best][0], limits)
        headline = f"{times(fastest[best][0])}"
        measures = [
            _speed_measure("best network", best, *fastest[best]),
            _speed_measure("worst network", worst, *fastest[worst]),
            *(measure for engine in engines for measure in _engine_measure(results, engine)),
            *_quantized_measure(results),
        ]
        timed = next(iter(results.benchmarks.values()))
        cpu = timed.environment.get("cpu", "an unnamed CPU")
        conditions = (
            f"Whole networks in the sizes of benchmark.network, {_count(timed.threads, 'thread')} of {cpu}; the float "
            "one in PyTorch channels_last against the binarized one in this project’s engine, both with memory that "
            "they keep from image to image. "
            "Weights are untrained: time does not depend on them. What rounding loses is the most that it costs this "
            "run’s network or a published one of the same model."
        )
    return Claim(
        key="speed",
        title="Inference potentially 5× faster",
        quote="could potentially speed up inference by 5×",
        verdict=verdict,
        value=max(fastest.values())[0] if fastest else None,
        headline=headline,
        headline_label=f"the speed of PyTorch in float32, reached on the best network{reached}",
        rule=f"Replicated when every network is at least {limits.replicated:g}× as fast with its fastest engine "
        f"mode, partly when the best is at least {limits.partly:g}×; modes that lose more than {loss_limit:g} dB "
        "PSNR-Y by rounding do not count.",
        conditions=conditions,
        measures=measures,
        reservations=_reduced({pair: results.benchmarks[pair].parameters for pair in fastest}),
    )


def further_loss(results: Results, engine: str, pair: tuple[str, int] | None = None) -> float | None:
    """Return the largest loss of PSNR-Y by an engine mode beside PyTorch, over this run's and the published networks.

    `pair` is one of this run's networks, with which go the published ones of its model at every scale: this run's may
    be reduced, and the published ones are as large as those that are timed. Variants, binarized otherwise than those
    that are timed, do not count. By default all networks do. None where none was evaluated.
    """
    means = [
        evaluation.means
        for (_, run), evaluation in results.evaluations.items()
        if run.weights == "binary" and pair in (None, (run.model, run.scale))
    ]
    means += [
        held
        for model in results.zoo.models
        if model.weights == "binary" and not model.variant and (pair is None or model.model == pair[0])
        for held in results.zoo.published[model.name].values()
    ]
    losses = [mean["torch"].psnr_y - mean[engine].psnr_y for mean in means if engine in mean]
    return max(0.0, *losses) if losses else None


def gaps(results: Results) -> list[Gap]:
    """Return float minus binary, as PyTorch runs them, for every network and test set."""
    found = []
    for name in results.test_sets:
        for model, scale in results.pairs:
            real, binary = (results.evaluations[name, Run(model, scale, weights)].means["torch"] for weights in WEIGHTS)
            images = [results.evaluations[name, Run(model, scale, weights)].images for weights in WEIGHTS]
            found.append(make_gap(name, model, scale, (real, binary), images))
    return found


def make_gap(
    test_set: str,
    model: str,
    scale: int,
    means: tuple[Quality, Quality],
    images: Sequence[Sequence[ImageQuality]],
    variant: str = "",
) -> Gap:
    """Return float minus binary on one set, by the means and every image of the float and of the binary network."""
    real, binary = means
    above, below = ({row.image: row.psnr_y for row in rows if row.backend == "torch"} for rows in images)
    found = paired_interval(above, below)
    rgb = None
    if real.psnr_rgb is not None and binary.psnr_rgb is not None:
        rgb = real.psnr_rgb - binary.psnr_rgb
    gap = real.psnr_y - binary.psnr_y  # of the published means, so that it is theirs to the last digit
    return Gap(test_set, model, scale, gap, found.low, found.high, found.images, rgb, variant)


def reduction(files: Mapping[Run, Export], model: str, scale: int) -> float:
    """Return the share of the float file that binarization saves."""
    real, binary = (files[Run(model, scale, weights)].bytes for weights in WEIGHTS)
    return 1 - binary / real


def most_saved(files: Mapping[Run, Export], model: str, scale: int) -> float:
    """Return the share of the float file that would be saved if packed filters and their scales took no bytes."""
    real, binary = (files[Run(model, scale, weights)] for weights in WEIGHTS)
    return 1 - (binary.bytes - binary.layers["binary"]) / real.bytes


def times(ratio: float) -> str:
    """Return a ratio as `5.0×`, with more digits below one."""
    return f"{ratio:.{1 if ratio >= 0.95 else 2}f}×"


def accuracy_reservations(results: Results) -> list[str]:
    """Return why this run's accuracies cannot be held against the paper; empty if they can."""
    reasons = _reduced({pair: results.exports[Run(*pair, "float")].parameters for pair in results.pairs})
    iterations = [training.iterations for training in results.trainings.values()]
    if any(is_brief(run.model, training.iterations) for run, training in results.trainings.items()):
        models = dict.fromkeys(run.model for run in results.trainings)
        reasons.append(f"Training was brief: {count_span(iterations)} iterations, where {papers_train(models)}.")
    cut = [run.name for run, training in results.trainings.items() if training.stopped == "max_minutes"]
    if cut:
        reasons.append(f"The time limit ended the training of {labels.listing(cut)} before the planned iterations.")
    if not any(name in STANDARD_SETS for name in results.test_sets):
        reasons.append("None of the paper’s test sets was evaluated.")
    below = below_bicubic(results)
    if below:
        reasons.append(f"Below bicubic, so that a small gap says little: {labels.listing(below)}.")
    return reasons


def papers_train(models: Iterable[str]) -> str:
    """Say for how long the papers of some models train, as `the papers train for 80,000 (VDSR)`."""
    return "the papers train for " + labels.listing([f"{PAPER_ITERATIONS[m]:,} ({labels.model(m)})" for m in models])


def count_span(counts: Collection[int]) -> str:
    """Return counts as `800` or `800 to 2,400`."""
    return " to ".join(dict.fromkeys(f"{of(counts):,}" for of in (min, max)))


def below_bicubic(results: Results) -> list[str]:
    """Return the float networks that are no better than bicubic on some test set."""
    return [
        f"{labels.network(run.model, run.scale)} on {name}"
        for (name, run), evaluation in results.evaluations.items()
        if run.weights == "float"
        and evaluation.means["torch"].psnr_y <= results.bicubic[name, run.scale].means["bicubic"].psnr_y
    ]


def _reduced(parameters: Mapping[tuple[str, int], int]) -> list[str]:
    """Say which networks, by the parameters of a model at a scale, are smaller than their papers'."""
    small = []
    for model in dict.fromkeys(model for model, _ in parameters):
        count = min(count for pair, count in parameters.items() if pair[0] == model)
        if count < FULL_PARAMETERS.get(model, 0):
            small.append(f"{labels.model(model)} ({count / 1e6:.2f} M parameters)")
    return [f"Reduced networks, smaller than their papers’: {labels.listing(small)}."] if small else []


def gap_measures(found: list[Gap], limits: Thresholds) -> list[Measure]:
    """Return the largest, smallest and mean gap on luma, and the largest on RGB where there is colour."""
    worst, best = max(found, key=lambda gap: gap.high), min(found, key=lambda gap: gap.high)
    mean = sum(gap.psnr_y for gap in found) / len(found)
    return [
        Measure("largest gap, PSNR-Y", labels.decibels(worst.psnr_y), f"{worst.where}, {worst.interval}"),
        Measure("smallest gap, PSNR-Y", labels.decibels(best.psnr_y), f"{best.where}, {best.interval}"),
        Measure("mean gap, PSNR-Y", labels.decibels(mean), f"over {_count(len(found), 'comparison')}"),
        *_rgb_measure(found, limits),
    ]


def _rgb_measure(found: list[Gap], limits: Thresholds) -> list[Measure]:
    coloured = [(gap.psnr_rgb, gap.where) for gap in found if gap.psnr_rgb is not None]
    if not coloured:
        return []
    value, where = max(coloured)
    note = f"{where}; judged on RGB: {at_most(value, limits)}"
    return [Measure("largest gap, PSNR-RGB", labels.decibels(value), note)]


def _int8_measure(results: Results) -> list[Measure]:
    losses = [
        (evaluation.means["torch"].psnr_y - evaluation.means["engine_int8"].psnr_y, name, run)
        for (name, run), evaluation in results.evaluations.items()
        if "engine_int8" in evaluation.means
    ]
    if not losses:
        return []
    loss, name, run = max(losses, key=lambda entry: entry[0])
    note = f"{labels.network(run.model, run.scale)} on {name}, engine int8 against PyTorch"
    return [Measure("further loss by int8", f"{labels.number(loss, 3)} dB", note)]


def _speed_measure(label: str, pair: tuple[str, int], ratio: float, engine: str) -> Measure:
    return Measure(label, times(ratio), f"{labels.network(*pair)}, {labels.backend(engine)}")


def _engine_measure(results: Results, engine: str) -> list[Measure]:
    ratios = _speeds(results, engine)
    if not ratios:
        return []
    loss = further_loss(results, engine)
    cost = f"; loses up to {labels.number(loss, 3)} dB more" if loss is not None and loss >= 0.0005 else ""
    return [Measure(labels.backend(engine), _times_span(ratios), f"over {_count(len(ratios), 'network')}{cost}")]


def _quantized_measure(results: Results) -> list[Measure]:
    """What rounding alone brings, without binarization."""
    ratios = _speeds(results, "openvino_int8")
    return (
        [Measure("OpenVINO, int8", _times_span(ratios), "float networks, quantized, not binarized")] if ratios else []
    )


def _reached(results: Results, pair: tuple[str, int], engine: str) -> str:
    """Say of which network and mode the best ratio is, and what the paper's activations reach if it has others."""
    said = f"{labels.network(*pair)}, {labels.backend(engine)}"
    exact = _speeds(results, "engine_float32")
    if engine == "engine_float32" or not exact:
        return said
    return f"{said}; with float32 activations, which are the paper’s, {_times_span(exact)}"


def _speeds(results: Results, backend: str) -> list[float]:
    """How many times as fast as PyTorch channels_last a backend runs each network that was timed with it."""
    return [ratio for timed in results.benchmarks.values() if (ratio := timed.speed(backend)) is not None]


def _times_span(ratios: Collection[float]) -> str:
    return " to ".join(dict.fromkeys(times(of(ratios)) for of in (min, max)))


def _file_sizes(files: Mapping[Run, Export], model: str, scale: int) -> str:
    real, binary = (files[Run(model, scale, weights)].bytes for weights in WEIGHTS)
    return f"{labels.byte_size(real)} to {labels.byte_size(binary)}"


def equivalence(found: Collection[Gap], limits: Thresholds) -> Verdict:
    """Return the verdict of the equivalence test: on the upper ends of the gaps' intervals."""
    return at_most(max(gap.high for gap in found), limits)


def equivalence_rule(limits: Thresholds) -> str:
    """Say the equivalence test."""
    return (
        "An equivalence test: replicated when the upper end of the 95 % interval of every gap (a paired bootstrap over "
        f"the images of a set) is at most {labels.decibels(limits.replicated)} PSNR-Y, partly up to "
        f"{labels.decibels(limits.partly)}."
    )


def gap_label(worst: Gap) -> str:
    """Say what the gap in the headline is."""
    return f"largest loss of PSNR-Y by binarization, float minus binary: {worst.where}; 95 % interval {worst.interval}"


def at_most(value: float, limits: Thresholds) -> Verdict:
    """Return the verdict on a value that should be small."""
    if value <= limits.replicated:
        return Verdict.REPLICATED
    return Verdict.PARTLY if value <= limits.partly else Verdict.NOT


def _at_least(worst: float, best: float, limits: Thresholds) -> Verdict:
    if worst >= limits.replicated:
        return Verdict.REPLICATED
    return Verdict.PARTLY if best >= limits.partly else Verdict.NOT


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
