"""Scoring the published networks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from pipeline.data.prepared import PreparedSet
from pipeline.data.resize import imresize
from pipeline.engine.runner import MODES
from pipeline.evaluation.backends import upscalers
from pipeline.evaluation.protocol import Score, evaluate, means
from pipeline.zoo.catalogue import ZOO, Model

# Variants serve to compare trainings; the cost of the other modes is measured on the main networks.
VARIANT_MODES = ("engine_float32", "engine_int8")

Means = Mapping[str, float | None]  # of `pipeline.evaluation.protocol.means`


def model_scores(
    model: Model, images: PreparedSet, zoo: Path = ZOO, modes: Collection[str] = tuple(MODES)
) -> dict[str, list[Score]]:
    """Score a published network on a set: with PyTorch, and in those engine `modes` in which it is published."""
    backends = upscalers(model.path(zoo), set(VARIANT_MODES if model.variant else MODES) & set(modes))
    return {name: evaluate(upscale, images, model.scale) for name, upscale in backends.items()}


def bicubic_scores(images: PreparedSet, scale: int) -> list[Score]:
    """Score bicubic upscaling on a set."""
    return evaluate(lambda image: imresize(image, scale), images, scale)


def mean_scores(scores: Mapping[str, list[Score]]) -> dict[str, Means]:
    """Average the scores of each backend over a set."""
    return {name: means(by_image) for name, by_image in scores.items()}
