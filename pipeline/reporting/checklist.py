"""What the reproducibility checklist counts: runs, seeds, machines and core-hours of the published networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline import labels
from pipeline.zoo.catalogue import PublishedNetwork, pairs, seed_pairs


@dataclass(frozen=True)
class Cost:
    """What the networks of the published pairs took to train."""

    networks: int
    seeds: int  # of the pair that has most of them
    core_hours: str
    each: str  # core-hours of the cheapest and of the dearest network
    devices: list[str]


def cost(models: Sequence[PublishedNetwork]) -> Cost | None:
    """Count what was spent on the networks that this project trained for its pairs; None where there is none."""
    seeds = seed_pairs(models)
    compared = [*pairs(models), *(pair for several in seeds.values() for pair in several)]
    trained = {model.name: model for pair in compared for model in pair if not model.imported}
    by_training = {_training(model): model for model in trained.values()}
    hours = [model.training["cpu_seconds"] / 3600 for model in by_training.values()]
    if not hours:
        return None
    span = dict.fromkeys(labels.number(of(hours), 1) for of in (min, max))
    return Cost(
        len(by_training),
        max((len(several) for several in seeds.values()), default=1),
        labels.number(sum(hours), 1),
        " to ".join(span),
        list(dict.fromkeys(model.training["device"] for model in by_training.values())),
    )


def _training(model: PublishedNetwork) -> tuple[str, str, str, tuple[int, ...]]:
    """What is the same for the networks that one training gave."""
    return model.model, model.weights, model.variant, tuple(model.training.get("scales", [model.scale]))
