"""The report's section on the zoo: what the published networks score, and what this machine finds of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.params import Thresholds
from pipeline.reporting import labels
from pipeline.reporting.claims import (
    Claim,
    Gap,
    Measure,
    Verdict,
    at_most,
    count_span,
    gap_measures,
    papers_train,
    ratio_span,
)
from pipeline.reporting.published import published
from pipeline.reporting.results import Quality, Zoo
from pipeline.reporting.tables import NONE, gap_kind, quality_cells
from pipeline.runs import Run
from pipeline.zoo.catalogue import Model, controls, fair_pairs, iterations, pairs

SHOWN = {"torch": "PyTorch", "engine_int8": "engine int8"}


@dataclass(frozen=True)
class Cell:
    """A PSNR-Y as text; a change from another network, a channel or a range over seeds; and what the gap is called."""

    value: str
    note: str = ""
    gap_kind: str = ""


@dataclass(frozen=True)
class ZooRow:
    """One network, or one source, on all sets: values as text."""

    name: str
    weights: str
    by: str
    iterations: str
    cells: list[Cell]
    kind: str = "measured"  # or "bicubic", "published", "spread"
    starts: bool = False
    short: bool = False  # see `Model.short`


@dataclass(frozen=True)
class ZooTable:
    """All published networks at one scale."""

    scale: int
    sets: list[str]
    rows: list[ZooRow]


@dataclass(frozen=True)
class AblationRow:
    """A way to binarize a network or to train it: values as text."""

    name: str
    size: str  # of the packed file, bytes
    iterations: str
    cells: list[Cell]
    short: bool


@dataclass(frozen=True)
class AblationTable:
    """A network, binarized in several ways or not at all; the first has the pair's binary network."""

    name: str
    network: str
    sets: list[str]
    rows: list[AblationRow]


@dataclass(frozen=True)
class HereRow:
    """One published network on one of this run's test sets."""

    name: str
    bicubic: str
    torch: str
    gain: str
    int8: str
    published: str
    float_ms: str
    engine_ms: str
    ratio: str


@dataclass(frozen=True)
class HereTable:
    """The published networks on one of this run's test sets, and on what image they were timed."""

    test_set: str
    timed: str
    rows: list[HereRow] = field(default_factory=list)


def zoo_tables(zoo: Zoo, limits: Thresholds) -> list[ZooTable]:
    """Return a table of published scores for every scale; gaps are called by the verdict's `limits`."""
    return [
        ZooTable(scale, sets, _rows(zoo, scale, sets, limits))
        for scale in sorted({model.scale for model in zoo.models})
        for sets in [list(zoo.published[f"bicubic-x{scale}"])]
    ]


def ablation_tables(zoo: Zoo) -> list[AblationTable]:
    """Return a table for every pair whose network was binarized or trained otherwise too, under the same profile.

    Changes are from the pair's binary network.
    """
    tables = []
    order = {variant: place for place, variant in enumerate(labels.VARIANTS)}
    for _, base in pairs(zoo.models):
        variants = [
            model
            for model in zoo.models
            if (model.model, model.scale, model.profile) == (base.model, base.scale, base.profile)
            and model.variant
            and not model.variant.startswith("seed")
            and (model.start is None or model.start == base.start)
        ]
        if not variants:
            continue
        variants.sort(key=lambda model: order.get(model.variant, len(order)))
        held = zoo.published
        sets = [name for name in held[base.name] if all(name in held[model.name] for model in variants)]
        rows = [
            AblationRow(
                labels.VARIANTS.get(model.variant, model.variant),
                f"{model.bytes:,}",
                iterations(model, zoo.models),
                [_cell(held[model.name][name]["torch"], held[base.name].get(name)) for name in sets],
                model.short,
            )
            for model in [base, *variants]
        ]
        tables.append(AblationTable(f"{base.model}-x{base.scale}", labels.network(base.model, base.scale), sets, rows))
    return tables


def quality_rows(zoo: Zoo) -> list[tuple[str, ...]]:
    """Return a row for every published network, way of running it and test set: with PSNR-Y, PSNR-RGB and SSIM-Y."""
    return [
        (method, labels.backend(backend), name, *quality_cells(quality))
        for method, sets in zoo.published.items()
        for name, backends in sets.items()
        for backend, quality in backends.items()
    ]


def here_tables(zoo: Zoo) -> list[HereTable]:
    """Return a table of what this run found with the published networks, for each of its test sets."""
    tables = []
    for name, found in zoo.here.items():
        timed = next(iter(found.times.values()), None)
        rows = [_here_row(zoo, name, model) for model in zoo.models]
        size = "" if timed is None else f"{timed.lr_size[0]}×{timed.lr_size[1]} LR pixels, {timed.threads} threads"
        tables.append(HereTable(name, size, rows))
    return tables


def zoo_claim(zoo: Zoo, limits: Thresholds) -> Claim:
    """Judge "comparable results" by the published networks on their test sets: the largest mean gap in PSNR-Y.

    A binary network counts against its float twin, and against that network trained on for as long where there is one.
    """
    found, fair = zoo_gaps(zoo, pairs(zoo.models)), zoo_gaps(zoo, fair_pairs(zoo.models))
    longer = zoo_gaps(zoo, controls(zoo.models))
    sets = list(dict.fromkeys(gap.test_set for gap in found))
    trained_on = list(dict.fromkeys(real.training["training_set"] for real, _ in pairs(zoo.models)))
    binary = [model for _, model in pairs(zoo.models)]
    tuned = any(model.start for model in binary)
    taught = any(model.training["plan"]["settings"].get("distillation") for model in binary)
    started = f"; the binary ones started from their trained float twins{labels.TAUGHT if taught else ''}"
    started += "; gaps are below these, trained on for as long where there is such a network" if longer else ""
    worst = max([*fair, *found], key=lambda gap: gap.psnr_y, default=None)
    return Claim(
        key="published_accuracy",
        title="Accuracy comparable with the float network: the published networks",
        quote="comparable qualitative and quantitative results as their real-weight counterparts",
        verdict=Verdict.UNMEASURED if worst is None else at_most(worst.psnr_y, limits),
        value=None if worst is None else worst.psnr_y,
        headline="—" if worst is None else labels.decibels(worst.psnr_y),
        headline_label="largest loss of PSNR-Y by binarization, float minus binary, among the published pairs"
        + (", beside a float network trained for as long" if worst in longer else ""),
        rule=f"Replicated when the largest mean gap is at most {labels.decibels(limits.replicated)} PSNR-Y, "
        f"partly up to {labels.decibels(limits.partly)}; a float network that was trained on for as long as the binary "
        "one counts as the one from which both started.",
        conditions="No pair of networks is published."
        if worst is None
        else f"Networks trained on {labels.listing(trained_on)}, means over {labels.listing(sets)}, run by "
        f"PyTorch in float32{started if tuned else ''}. Variants, which are in the ablation, do not count.",
        measures=[]
        if worst is None
        else [
            *_fair_measures(longer),
            *gap_measures(fair, limits),
            *(_start_measure(found) if longer else []),
            *_against_the_paper(zoo),
        ],
        reservations=_reservations(zoo.models),
        reach="these networks",
    )


def zoo_gaps(zoo: Zoo, compared: Sequence[tuple[Model, Model]]) -> list[Gap]:
    """Return float minus binary for float and binary networks on every test set that both have."""
    gaps = []
    for real, binary in compared:
        for name, backends in zoo.published[binary.name].items():
            if name not in zoo.published[real.name]:
                continue
            above, below = zoo.published[real.name][name]["torch"], backends["torch"]
            rgb = None
            if above.psnr_rgb is not None and below.psnr_rgb is not None:
                rgb = above.psnr_rgb - below.psnr_rgb
            gaps.append(Gap(name, real.model, real.scale, above.psnr_y - below.psnr_y, rgb))
    return gaps


def _fair_measures(fair: Sequence[Gap]) -> list[Measure]:
    """The largest gaps below float networks that were trained on for as long, a network each."""
    worst: dict[tuple[str, int], Gap] = {}
    for gap in sorted(fair, key=lambda gap: gap.psnr_y):
        worst[gap.model, gap.scale] = gap
    return [
        Measure(
            f"{labels.network(*pair)}, trained for as long",
            labels.decibels(gap.psnr_y),
            f"largest gap below its float network with as many further iterations, on {gap.test_set}",
        )
        for pair, gap in worst.items()
    ]


def _start_measure(found: Sequence[Gap]) -> list[Measure]:
    worst = max(found, key=lambda gap: gap.psnr_y)
    note = f"{worst.where}: the float network that was started from, trained for less long"
    return [Measure("largest gap, below the start", labels.decibels(worst.psnr_y), note)]


def _against_the_paper(zoo: Zoo) -> list[Measure]:
    """On how many of the paper's numbers its binarized SRResNet is reached, under both readings of their channel."""
    measures = []
    for scale in (2, 4):
        mine = zoo.published.get(Run("srresnet", scale, "binary").name, {})
        theirs = {
            name: entry.psnr
            for name in mine
            for entry in published(name, scale, ["srresnet"])
            if entry.channel is None  # the paper alone names none
        }
        for channel, title in (("psnr_y", "luma"), ("psnr_rgb", "RGB")):
            values = {name: getattr(mine[name]["torch"], channel) for name in theirs}
            if not values or None in values.values():
                continue
            reached = sum(values[name] >= theirs[name] for name in theirs)
            note = ", ".join(f"{name} {labels.number(values[name], 2)} of {theirs[name]:.2f}" for name in theirs)
            label = f"SRResNet ×{scale}, the paper’s numbers read as {title}"
            measures.append(Measure(label, f"{reached} of {len(theirs)} reached", note))
    return measures


def _reservations(models: Sequence[Model]) -> list[str]:
    short = [model for model in models if model.short]
    reasons = []
    if short:
        span = count_span([model.training["iterations"] for model in short])
        batches = sorted({model.training["batch"] for model in short})
        devices = list(dict.fromkeys(model.training["device"] for model in short))
        reasons.append(
            f"{len(short)} of {len(models)} published networks had short runs: {span} iterations of "
            f"{labels.listing([str(batch) for batch in batches])} crops on {labels.listing(devices)}, where "
            f"{papers_train(dict.fromkeys(model.model for model in short))}. A short run has a weaker float network "
            "too: with longer ones the gap may grow or shrink."
        )
    controlled = [binary.name for _, binary in controls(models)]
    loose = [(real, binary) for real, binary in pairs(models) if binary.start and binary.name not in controlled]
    if loose:
        ratios = [1 + binary.training["iterations"] / real.training["iterations"] for real, binary in loose]
        networks = labels.listing([labels.network(binary.model, binary.scale) for _, binary in loose])
        reasons.append(
            f"{networks}: binary networks went on from trained float ones and saw {ratio_span(ratios)} times as many "
            "iterations in all; no float network was trained on for as long to hold them against."
        )
    seeds = {(m.model, m.scale, m.profile) for m in models if m.weights == "binary" and m.variant.startswith("seed")}
    once = [binary for _, binary in pairs(models) if (binary.model, binary.scale, binary.profile) not in seeds]
    if once:
        networks = labels.listing([labels.network(binary.model, binary.scale) for binary in once])
        reasons.append(f"{networks}: trained from one seed, so that how much of a gap is chance is not known.")
    return reasons


def _rows(zoo: Zoo, scale: int, sets: list[str], limits: Thresholds) -> list[ZooRow]:
    bicubic = zoo.published[f"bicubic-x{scale}"]
    cells = [Cell(labels.number(bicubic[name]["bicubic"].psnr_y, 2)) for name in sets]
    rows = [ZooRow("Bicubic", "", "", "", cells, "bicubic", starts=True)]
    rows += _source_rows(scale, sets, None)
    against = {binary.name: real for real, binary in fair_pairs(zoo.models)}
    for model in (model for model in zoo.models if model.scale == scale and not model.variant):
        held = zoo.published[model.name]
        real = against.get(model.name)
        above = {} if real is None else zoo.published[real.name]
        if real is not None and real.variant:
            rows.append(_control_row(zoo, real, sets))
        first = True
        for backend, by in SHOWN.items():
            if not all(backend in held.get(name, {}) for name in sets):
                continue
            rows.append(
                ZooRow(
                    labels.model(model.model),
                    model.weights,
                    by,
                    iterations(model, zoo.models) if first else "",
                    [_cell(held[name][backend], above.get(name), limits) for name in sets],
                    starts=first and model.weights == "float",
                    short=first and model.short,
                )
            )
            first = False
        rows += _spread_rows(zoo, model, sets)
        if model.weights == "binary":
            rows += _source_rows(scale, sets, model.model)
    return rows


def _control_row(zoo: Zoo, model: Model, sets: list[str]) -> ZooRow:
    """The float network that was trained on for as long as the binary one that comes next."""
    held = zoo.published[model.name]
    cells = [_cell(held[name]["torch"], None) if name in held else Cell(NONE) for name in sets]
    done = iterations(model, zoo.models)
    return ZooRow(labels.model(model.model), model.weights, "PyTorch", done, cells, short=model.short)


def _spread_rows(zoo: Zoo, model: Model, sets: list[str]) -> list[ZooRow]:
    """A row with means and ranges over the seeds with which a network was trained, if there are several."""
    seeds = [
        other.name
        for other in zoo.models
        if other.variant.startswith("seed")
        and (other.model, other.scale, other.weights, other.profile)
        == (model.model, model.scale, model.weights, model.profile)
        and all(name in zoo.published[other.name] for name in sets)
    ]
    if not seeds:
        return []
    cells = []
    for name in sets:
        levels = [zoo.published[each][name]["torch"].psnr_y for each in (model.name, *seeds)]
        span = f"{labels.number(min(levels), 2)} – {labels.number(max(levels), 2)}"
        cells.append(Cell(labels.number(sum(levels) / len(levels), 2), span))
    by = f"PyTorch, mean of {len(seeds) + 1} seeds"
    return [ZooRow(labels.model(model.model), model.weights, by, "", cells, "spread")]


def _cell(quality: Quality, base: Mapping[str, Quality] | None, limits: Thresholds | None = None) -> Cell:
    """PSNR-Y, and how far it is from that of another network in PyTorch; `limits` call that gap small or large."""
    value = labels.number(quality.psnr_y, 2)
    if base is None:
        return Cell(value)
    gap = base["torch"].psnr_y - quality.psnr_y
    return Cell(value, labels.number(-gap, 2, signed=True), "" if limits is None else gap_kind(gap, limits))


def _source_rows(scale: int, sets: list[str], model: str | None) -> list[ZooRow]:
    sources: dict[str, dict[str, Cell]] = {}
    channels = {"y": "", "rgb": "RGB", None: "Y or RGB"}
    for name in sets:
        for entry in published(name, scale, [model]):
            sources.setdefault(entry.source, {})[name] = Cell(labels.number(entry.psnr, 2), channels[entry.channel])
    return [
        ZooRow(source, "", "", "", [held.get(name, Cell(NONE)) for name in sets], "published")
        for source, held in sources.items()
    ]


def _here_row(zoo: Zoo, test_set: str, model: Model) -> HereRow:
    found = zoo.here[test_set]
    held, timed = found.methods[model.name], found.times.get(model.name)
    bicubic = found.methods[f"bicubic-x{model.scale}"]["bicubic"].psnr_y
    torch, int8 = held["torch"].psnr_y, held.get("engine_int8")
    was = zoo.published[model.name].get(test_set)
    return HereRow(
        model.name,
        labels.number(bicubic, 2),
        labels.number(torch, 2),
        labels.number(torch - bicubic, 2, signed=True),
        NONE if int8 is None else labels.number(int8.psnr_y, 2),
        NONE if was is None else labels.number(was["torch"].psnr_y, 2),
        NONE if timed is None else labels.milliseconds(timed.backends["torch_channels_last"].median_ms),
        NONE if timed is None else labels.milliseconds(timed.backends["engine_int8"].median_ms),
        NONE if timed is None else f"{timed.speedup['engine_int8']:.1f}×",
    )
