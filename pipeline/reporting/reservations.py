"""Why a run's numbers cannot be compared with the paper's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline import labels
from pipeline.networks import NETWORKS
from pipeline.reporting.results import Results
from pipeline.runs import Run, is_brief
from pipeline.zoo.catalogue import TEST_SETS

ONE_SEED = "Trained with one seed: the intervals cover the choice of images, not of the seed."


def accuracy_reservations(results: Results) -> list[str]:
    """Return why this run's accuracies cannot be compared with the paper's; empty if they can."""
    reasons = reduced_networks({pair: results.exports[Run(*pair, "float")].parameters for pair in results.pairs})
    brief = {
        run: made for run, training in results.trainings.items() if is_brief(run.model, made := training.iterations)
    }
    if brief:
        models = dict.fromkeys(run.model for run in brief)
        span = labels.span(brief.values(), "{:,}".format)
        reasons.append(f"Short runs: {span} iterations, where {papers_train(models)}.")
    reasons.append(ONE_SEED)
    cut = [run.name for run, training in results.trainings.items() if training.stopped == "max_minutes"]
    if cut:
        reasons.append(f"The time limit ended the training of {labels.listing(cut)} before the planned iterations.")
    if not any(name in TEST_SETS for name in results.test_sets):
        reasons.append("None of the paper’s test sets was evaluated.")
    below = below_bicubic(results)
    if below:
        reasons.append(f"No better than bicubic, so that a small gap says little: {labels.listing(below)}.")
    return reasons


def below_bicubic(results: Results) -> list[str]:
    """Return the float networks that are no better than bicubic on some test set."""
    return [
        f"{labels.network(run.model, run.scale)} on {name}"
        for (name, run), evaluation in results.evaluations.items()
        if run.weights == "float"
        and evaluation.means["torch"].psnr_y <= results.bicubic[name, run.scale].means["bicubic"].psnr_y
    ]


def reduced_networks(parameters: Mapping[tuple[str, int], int]) -> list[str]:
    """Return which networks, by the parameters of a model at a scale, are smaller than their papers'."""
    small = []
    for model in dict.fromkeys(model for model, _ in parameters):
        count = min(count for pair, count in parameters.items() if pair[0] == model)
        if count < NETWORKS[model].parameters:
            small.append(f"{labels.model(model)} ({count / 1e6:.2f} M parameters)")
    return [f"Reduced networks, smaller than their papers’: {labels.listing(small)}."] if small else []


def papers_train(models: Iterable[str]) -> str:
    """Return for how long the papers of some models train, as `the papers train for 80,000 (VDSR)`."""
    return "the papers train for " + labels.listing(
        [f"{NETWORKS[m].iterations:,} ({NETWORKS[m].title})" for m in models]
    )
