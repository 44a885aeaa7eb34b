"""The numbers of the reproducibility checklist: runs, seeds, machines and core-hours of the published networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline import labels
from pipeline.zoo.catalogue import PublishedNetwork, compared_pairs, seed_pairs


@dataclass(frozen=True)
class Cost:
    """What it took to train the networks of the published pairs."""

    networks: int
    seeds: int  # of the pair with the most
    core_hours: str
    each: str  # core-hours of the cheapest and of the most expensive network
    devices: list[str]


def cost(models: Sequence[PublishedNetwork]) -> Cost | None:
    """Return the cost of the networks that this project trained for its pairs, or None if there are none."""
    trained = {model.name: model for pair in compared_pairs(models) for model in pair if not model.imported}
    by_training = {_training(model): model for model in trained.values()}
    hours = [model.training["cpu_seconds"] / 3600 for model in by_training.values()]
    if not hours:
        return None
    return Cost(
        len(by_training),
        max((len(several) for several in seed_pairs(models).values()), default=1),
        labels.number(sum(hours), 1),
        labels.span(hours, lambda each: labels.number(each, 1)),
        list(dict.fromkeys(model.training["device"] for model in by_training.values())),
    )


def _training(model: PublishedNetwork) -> tuple[str, str, str, tuple[int, ...]]:
    """Return what networks of the same training have in common."""
    return model.model, model.weights, model.variant, tuple(model.training.get("scales", [model.scale]))
