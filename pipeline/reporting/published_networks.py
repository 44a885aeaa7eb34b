"""The report's section on the zoo: what the published networks score, and what this machine finds of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline import labels
from pipeline.params import Thresholds
from pipeline.reporting.gaps import Gap, equivalence, equivalence_rule, gap_label, gap_measures, make_gap
from pipeline.reporting.published import published
from pipeline.reporting.reservations import count_span, papers_train
from pipeline.reporting.results import Quality, Zoo
from pipeline.reporting.tables import NONE, gap_kind, quality_cells
from pipeline.reporting.verdicts import Claim, Measure, Verdict
from pipeline.runs import MODELS, Run
from pipeline.zoo.catalogue import IMPORTED, Model, pairs, seed_pairs, twin_of

ABLATION = set(labels.VARIANTS) - {IMPORTED}
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
    kind: str = "measured"  # or "bicubic", "published"
    starts: bool = False
    short: bool = False  # see `Model.short`


@dataclass(frozen=True)
class ZooTable:
    """All published networks at one scale."""

    scale: int
    sets: list[str]
    rows: list[ZooRow]


@dataclass(frozen=True)
class GapRow:
    """A pair, or the mean of several: its gaps on all sets as text."""

    name: str
    iterations: str
    cells: list[Cell]


@dataclass(frozen=True)
class AblationRow:
    """A way to binarize a network or to train it: values as text."""

    name: str
    size: str  # of the packed file, bytes
    cells: list[Cell]


@dataclass(frozen=True)
class AblationTable:
    """A network, binarized or trained in several ways for equally long; the first row is the float network."""

    name: str
    network: str
    iterations: str
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


def gap_rows(zoo: Zoo, limits: Thresholds) -> tuple[list[str], list[GapRow]]:
    """Return the sets, and for every pair its gaps with their intervals; after several seeds their mean."""
    sets = list(dict.fromkeys(name for model in zoo.models for name in zoo.published[model.name]))
    seeds = [pair for several in seed_pairs(zoo.models).values() for pair in several]
    compared = list(dict.fromkeys((real.name, binary.name) for real, binary in (*pairs(zoo.models), *seeds)))
    by_name = {model.name: model for model in zoo.models}
    rows = []
    for real, binary in ((by_name[above], by_name[below]) for above, below in compared):
        found = {gap.test_set: gap for gap in zoo_gaps(zoo, [(real, binary)])}
        cells = [_gap_cell(found[name], limits) if name in found else Cell(NONE) for name in sets]
        rows.append(GapRow(named(binary), iterations(binary), cells))
    for (model, scale), several in seed_pairs(zoo.models).items():
        if len(several) > 1:
            gaps = [{gap.test_set: gap.psnr_y for gap in zoo_gaps(zoo, [pair])} for pair in several]
            cells = []
            for name in sets:
                levels = [held[name] for held in gaps if name in held]
                span = f"{labels.number(min(levels), 2)} to {labels.number(max(levels), 2)}" if levels else ""
                cells.append(Cell(labels.number(sum(levels) / len(levels), 2), span) if levels else Cell(NONE))
            rows.append(GapRow(f"{labels.network(model, scale)}, mean of {len(several)} seeds", "", cells))
    return sets, rows


def _gap_cell(gap: Gap, limits: Thresholds) -> Cell:
    ends = f"{labels.number(gap.low, 2)} to {labels.number(gap.high, 2)}"
    return Cell(labels.number(gap.psnr_y, 2), ends, gap_kind(gap.high, limits))


def named(model: Model) -> str:
    """Say which network it is, as `VDSR ×4, imported`."""
    return labels.network(model.model, model.scale) + (f", {labels.variant(model.variant)}" if model.variant else "")


def iterations(model: Model) -> str:
    """Say for how long a network was trained, as `24,000`."""
    return "imported" if model.iterations is None else f"{model.iterations:,}"


def ablation_tables(zoo: Zoo) -> list[AblationTable]:
    """Return a table for every pair whose network was binarized or trained otherwise too, for as long.

    Its first rows are the pair of seed 0; changes are from its binary network.
    """
    tables = []
    order = {variant: place for place, variant in enumerate(labels.VARIANTS)}
    for several in seed_pairs(zoo.models).values():
        real, base = several[0]
        variants = [
            model
            for model in zoo.models
            if (model.model, model.scale, model.profile, model.iterations)
            == (base.model, base.scale, base.profile, base.iterations)
            and model.variant in labels.VARIANTS
        ]
        if not variants:
            continue
        variants.sort(key=lambda model: order[model.variant])
        held = zoo.published
        sets = [name for name in held[base.name] if all(name in held[model.name] for model in variants)]
        titles = {real.name: "float", base.name: "learnable scale, residual blocks (the paper)"}
        rows = [
            AblationRow(
                titles.get(model.name, labels.variant(model.variant)),
                f"{model.bytes:,}",
                [
                    _cell(held[model.name][name]["torch"], None if model is base else held[base.name][name])
                    for name in sets
                ],
            )
            for model in [real, base, *variants]
        ]
        title = labels.network(base.model, base.scale)
        tables.append(AblationTable(f"{base.model}-x{base.scale}", title, iterations(base), sets, rows))
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


def zoo_claim(zoo: Zoo, limits: Thresholds, frozen: str | None = None) -> Claim:
    """Judge "comparable results" by the published pairs on their test sets: the gaps in PSNR-Y and their intervals.

    `frozen` is the commit that fixed the thresholds and the protocol.
    """
    compared = [pair for pair in pairs(zoo.models) if not any(burst(zoo, model) for model in pair)]
    found = zoo_gaps(zoo, compared)
    sets = list(dict.fromkeys(gap.test_set for gap in found))
    worst = max(found, key=lambda gap: gap.high, default=None)
    conditions = "No pair of networks is published whose training was stable."
    if worst is not None:
        trained_on = list(dict.fromkeys(m.training["training_set"] for _, m in compared))
        conditions = (
            f"Pairs on equal terms, trained on {labels.listing(trained_on)}: float and binary from fresh weights, for "
            "the same iterations, on the same crops in the same order, with the same optimizer and schedule; an "
            "imported float network is its binary one’s start instead. Means over "
            f"{labels.listing(sets)}, run by PyTorch in float32. Variants, which are in the ablation, do not count."
        )
    fixed = f" Thresholds and protocol are those of commit {frozen[:10]}." if frozen else ""
    return Claim(
        key="published_accuracy",
        title="Accuracy comparable with the float network: the published networks",
        quote="comparable qualitative and quantitative results as their real-weight counterparts",
        verdict=Verdict.UNMEASURED if worst is None else equivalence(found, limits),
        value=None if worst is None else worst.psnr_y,
        headline="—" if worst is None else labels.decibels(worst.psnr_y),
        headline_label="no published pair to judge by yet" if worst is None else gap_label(worst),
        rule=equivalence_rule(limits) + fixed,
        conditions=conditions,
        measures=[] if worst is None else [*gap_measures(found, limits), *_against_the_paper(zoo)],
        reservations=[*_reservations([m for pair in compared for m in pair], zoo.models), *_bursts(zoo)],
        reach="these networks",
    )


def zoo_gaps(zoo: Zoo, compared: Sequence[tuple[Model, Model]]) -> list[Gap]:
    """Return float minus binary for float and binary networks on every test set that both have."""
    gaps = []
    for real, binary in compared:
        for name, backends in zoo.published[binary.name].items():
            if name in zoo.published[real.name]:
                means = (zoo.published[real.name][name]["torch"], backends["torch"])
                images = [zoo.images[model.name, name] for model in (real, binary)]
                gaps.append(make_gap(name, binary.model, binary.scale, means, images, binary.variant))
    return gaps


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


def burst(zoo: Zoo, model: Model) -> tuple[int, float, float] | None:
    """Find where a training became unstable: the mean loss since the last validation more than twice that before.

    Returns
    -------
    tuple or None
        The iteration, and the mean losses before and since; None for a stable training, and for an imported network.
    """
    history = zoo.histories.get(model.name)
    if history is None:
        return None
    steps = zip(history.iteration[1:], history.loss, history.loss[1:], strict=False)
    return next((step for step in steps if step[2] > 2 * step[1]), None)


def _bursts(zoo: Zoo) -> list[str]:
    """Say which pairs do not count because one of their trainings was unstable."""
    said = []
    for model in (model for pair in pairs(zoo.models) for model in pair):
        if (found := burst(zoo, model)) is not None:
            iteration, before, since = found
            said.append(
                f"{named(model)}: its pair does not count, since the {model.weights} network’s training was unstable: "
                f"up to iteration {iteration:,} its mean loss rose from {before:.3f} to {since:.3f}."
            )
    return said


def _reservations(compared: Sequence[Model], models: Sequence[Model]) -> list[str]:
    short = [model for model in compared if model.short]
    reasons = []
    if short:
        span = count_span([model.training["iterations"] for model in short])
        batches = sorted({model.training["batch"] for model in short})
        reasons.append(
            f"Short runs: {span} iterations of {labels.listing([str(batch) for batch in batches])} crops, where "
            f"{papers_train(dict.fromkeys(model.model for model in short))}."
        )
    seeded = seed_pairs(models)
    if compared and not any(len(several) > 1 for several in seeded.values()):
        reasons.append("Trained from one seed: the intervals say what the choice of images, not of the seed, changes.")
    return reasons


def _rows(zoo: Zoo, scale: int, sets: list[str], limits: Thresholds) -> list[ZooRow]:
    bicubic = zoo.published[f"bicubic-x{scale}"]
    cells = [Cell(labels.number(bicubic[name]["bicubic"].psnr_y, 2)) for name in sets]
    rows = [ZooRow("Bicubic", "", "", "", cells, "bicubic", starts=True)]
    rows += _source_rows(scale, sets, None)
    shown = [model for model in zoo.models if model.scale == scale and model.variant not in ABLATION]
    for model in sorted(shown, key=lambda m: (MODELS.index(m.model), m.variant)):
        held = zoo.published[model.name]
        real = twin_of(model, zoo.models)
        above = {} if real is None else zoo.published[real.name]
        first = True
        for backend, by in SHOWN.items():
            if not all(backend in held.get(name, {}) for name in sets):
                continue
            rows.append(
                ZooRow(
                    labels.model(model.model) + (f", {labels.variant(model.variant)}" if model.variant else ""),
                    model.weights,
                    by,
                    iterations(model) if first else "",
                    [_cell(held[name][backend], above.get(name), limits) for name in sets],
                    starts=first and model.weights == "float",
                    short=first and model.short,
                )
            )
            first = False
        if model.weights == "binary" and not model.variant:
            rows += _source_rows(scale, sets, model.model)
    return rows


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
