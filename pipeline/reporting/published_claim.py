"""The claim on accuracy by the published networks, and what limits it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pipeline import labels
from pipeline.evaluation.gaps import gap_of
from pipeline.params import Thresholds
from pipeline.reporting.gaps import (
    PairGap,
    few_images,
    gap_label,
    gap_measures,
    non_inferiority,
    non_inferiority_rule,
    published_gaps,
)
from pipeline.reporting.published import published
from pipeline.reporting.reservations import ONE_SEED, papers_train
from pipeline.reporting.results import Zoo
from pipeline.reporting.verdicts import Claim, Measure, Verdict
from pipeline.runs import Run
from pipeline.zoo.catalogue import IMPORTED, PublishedNetwork, pairs, seed_pairs

# A training image of which a test set has a smaller copy. No other was found in the standard test sets.
SEEN = ("BSDS500-train", "302003", "Set5", "img_005_SRF_2_HR")


def zoo_claim(zoo: Zoo, limits: Thresholds, frozen: str | None = None) -> Claim:
    """Judge "comparable results" by the published pairs on their test sets: the gaps in PSNR-Y and their intervals.

    `frozen` is the commit that fixed the thresholds and the protocol.
    """
    compared = [pair for pair in pairs(zoo.models) if not any(burst(zoo, model) for model in pair)]
    gaps = published_gaps(zoo, compared)
    sets = list(dict.fromkeys(gap.test_set for gap in gaps))
    worst = max(gaps, key=lambda pair: pair.gap.high, default=None)
    conditions = "No pair with stable training has been published."
    if worst is not None:
        trained_on = list(dict.fromkeys(m.training["training_set"] for _, m in compared))
        conditions = (
            f"Pairs on equal terms, trained on {labels.listing(trained_on)}: float and binary networks from fresh "
            "weights, for the same number of iterations, on the same crops in the same order, with the same optimizer "
            "and schedule; where the float network is imported, the binary network starts from it instead. Means over "
            f"{labels.listing(sets)}, run by PyTorch in float32. Neither the ablation nor the shorter pairs from "
            "several seeds count."
        )
    fixed = f" Thresholds and protocol are those of commit {frozen[:10]}." if frozen else ""
    return Claim(
        key="published_accuracy",
        title="Accuracy comparable with the float network: the published networks",
        quote="comparable qualitative and quantitative results as their real-weight counterparts",
        verdict=Verdict.UNMEASURED if worst is None else non_inferiority(gaps, limits),
        value=None if worst is None else worst.gap.psnr_y,
        headline="—" if worst is None else labels.decibels(worst.gap.psnr_y),
        headline_label="no pair has been published yet" if worst is None else gap_label(worst) + _alike(gaps),
        rule=non_inferiority_rule(limits) + fixed,
        conditions=conditions,
        measures=[] if worst is None else [*gap_measures(gaps, limits), *_against_the_paper(zoo)],
        reservations=[
            *_reservations([m for pair in compared for m in pair], zoo),
            *_imports(zoo, compared, gaps, limits),
            *few_images(gaps),
            *_seen(zoo, compared),
            *_bursts(zoo),
        ],
        reach="these networks",
    )


def _against_the_paper(zoo: Zoo) -> list[Measure]:
    """Count the paper's numbers for its binarized SRResNet that are reached, for both readings of their channel."""
    measures = []
    for scale in (2, 4):
        ours = zoo.published.get(Run("srresnet", scale, "binary").name, {})
        theirs = {
            name: entry.psnr
            for name in ours
            for entry in published(name, scale, "srresnet")
            if entry.channel is None  # only the paper names none
        }
        for channel, title in (("psnr_y", "luma"), ("psnr_rgb", "RGB")):
            values = {name: getattr(ours[name]["torch"], channel) for name in theirs}
            if not values or None in values.values():
                continue
            reached = sum(values[name] >= theirs[name] for name in theirs)
            note = ", ".join(f"{name} {labels.number(values[name], 2)} (paper: {theirs[name]:.2f})" for name in theirs)
            label = f"SRResNet ×{scale}, the paper’s numbers read as {title}"
            measures.append(Measure(label, f"{reached} of {len(theirs)} reached", note))
    return measures


def burst(zoo: Zoo, model: PublishedNetwork) -> tuple[int, float, float] | None:
    """Find where a training became unstable: the mean loss since the last validation more than twice that before.

    Returns
    -------
    tuple or None
        The iteration, and the mean losses before and since; None for a stable training, and for an imported network.
    """
    steps = pairwise(zoo.histories.get(model.name, []))
    return next(((now.iteration, before.loss, now.loss) for before, now in steps if now.loss > 2 * before.loss), None)


def _bursts(zoo: Zoo) -> list[str]:
    """Return which pairs do not count because one of their trainings was unstable."""
    sentences = []
    for model in (model for pair in pairs(zoo.models) for model in pair):
        if (unstable := burst(zoo, model)) is not None:
            iteration, before, since = unstable
            sentences.append(
                f"{labels.network(model.model, model.scale, model.variant)}: its pair does not count, since the "
                f"{model.weights} network’s training was unstable: "
                f"up to iteration {iteration:,} its mean loss rose from {before:.3f} to {since:.3f}."
            )
    return sentences


def _imports(
    zoo: Zoo,
    compared: Sequence[tuple[PublishedNetwork, PublishedNetwork]],
    gaps: Sequence[PairGap],
    limits: Thresholds,
) -> list[str]:
    """Return of which pairs the float network is imported, and so was trained for longer, and what the others give."""
    names = dict.fromkeys(labels.model(binary.model) for real, binary in compared if real.imported)
    iterations = [binary.training["iterations"] for real, binary in compared if real.imported]
    return [
        f"{name}, imported: the float network was trained to the end of its authors’ schedule, the binary one for "
        f"{labels.span(iterations, '{:,}'.format)} iterations from its weights."
        + _lead(zoo, gaps)
        + _others(gaps, limits)
        for name in names
    ]


def _lead(zoo: Zoo, gaps: Sequence[PairGap]) -> str:
    """Return how much of the largest gap to an imported network is by how far that one leads our own, in words."""
    worst = max((gap for gap in gaps if gap.variant == IMPORTED), key=lambda gap: gap.gap.psnr_y, default=None)
    if worst is None:
        return ""
    theirs, ours = (Run(worst.model, worst.scale, "float", variant).name for variant in (IMPORTED, ""))
    if worst.test_set not in zoo.published.get(ours, {}):
        return ""
    levels = [zoo.published[name][worst.test_set]["torch"].psnr_y for name in (theirs, ours)]
    lead = labels.decibels(levels[0] - levels[1])
    return (
        f" Of the gap of {labels.decibels(worst.gap.psnr_y)} of {worst.where}, {lead} is by how far that float network "
        "is ahead of the one trained here, from fresh weights."
    )


def _alike(gaps: Sequence[PairGap]) -> str:
    """Return the gaps of the pairs that were trained alike, in words, where there are others too."""
    alike = [gap.gap.psnr_y for gap in gaps if gap.variant != IMPORTED]
    if not alike or len(alike) == len(gaps):
        return ""
    span = labels.interval(min(alike), max(alike))
    return f"; gaps of the pairs trained alike, from fresh weights: {span}"


def _others(gaps: Sequence[PairGap], limits: Thresholds) -> str:
    """Return the verdict on the pairs whose two networks were trained alike, in words."""
    alike = [gap for gap in gaps if gap.variant != IMPORTED]
    if not alike:
        return ""
    worst, pair_names = max(alike, key=lambda gap: gap.gap.high), {(gap.model, gap.scale): None for gap in alike}
    names = labels.listing([labels.network(*pair) for pair in pair_names])
    within = sum(gap.gap.high <= limits.partly for gap in alike)
    return (
        f" Judged only by the pairs trained alike ({names}), the claim is {non_inferiority(alike, limits)}: the 95 % "
        f"interval that reaches furthest is {worst.interval}, of {worst.where}, and {within} of {len(alike)} end at "
        f"most at {labels.decibels(limits.partly)}."
    )


def _seen(zoo: Zoo, compared: Sequence[tuple[PublishedNetwork, PublishedNetwork]]) -> list[str]:
    """Return what a test image among the training images may change."""
    training_set, original, test_set, copy = SEEN
    gaps = []
    for pair in compared:
        scores = [zoo.scores.get((model.name, test_set), {}).get("torch", {}) for model in pair]
        if pair[1].training["training_set"] == training_set and all(copy in rows for rows in scores):
            gaps.append(gap_of(*({name: row for name, row in rows.items() if name != copy} for rows in scores)).psnr_y)
    if not gaps:
        return []
    return [
        f"{test_set}’s {copy} is a smaller copy of {original}, an image of {training_set}, on which the networks "
        f"were trained. Without it, the gaps on {test_set} are {labels.interval(min(gaps), max(gaps))}."
    ]


def _reservations(compared: Sequence[PublishedNetwork], zoo: Zoo) -> list[str]:
    short = [model for model in compared if model.short]
    reasons = []
    if short:
        span = labels.span([model.training["iterations"] for model in short], "{:,}".format)
        batches = labels.listing([str(batch) for batch in sorted({model.training["batch"] for model in short})])
        reasons.append(
            f"Short runs: {span} iterations with batches of {batches} crops, where "
            f"{papers_train(dict.fromkeys(model.model for model in short))}."
        )
    if compared:
        several = [
            f"{labels.network(*network)} also with {len(of_seeds)}, in shorter trainings, whose gaps on a set differ "
            f"by at most {labels.decibels(_seed_span(zoo, of_seeds))}"
            for network, of_seeds in seed_pairs(zoo.models).items()
            if len(of_seeds) > 1
        ]
        more = f" ({labels.listing(several)})" if several else ""
        reasons.append(ONE_SEED.replace("seed:", f"seed{more}:"))
    return reasons


def _seed_span(zoo: Zoo, of_seeds: Sequence[tuple[PublishedNetwork, PublishedNetwork]]) -> float:
    """Return the largest difference between the gaps of several seeds on a test set, in dB."""
    by_set: dict[str, list[float]] = {}
    for gap in published_gaps(zoo, of_seeds):
        by_set.setdefault(gap.test_set, []).append(gap.gap.psnr_y)
    return max(max(levels) - min(levels) for levels in by_set.values())
