"""Scoring the published networks on test sets, each on a processor core of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.prepared import PreparedSet
from pipeline.data.resize import imresize
from pipeline.engine.runner import MODES
from pipeline.evaluation.backends import upscalers
from pipeline.evaluation.protocol import evaluate, means
from pipeline.records import Quality, Score
from pipeline.runs import prepared_folder
from pipeline.zoo.catalogue import ZOO, PublishedNetwork
from pipeline.zoo.processes import one_thread_each

# Variants serve to compare trainings; the cost of the other modes is measured on the main networks.
VARIANT_MODES = ("engine_float32", "engine_int8")


@dataclass(frozen=True)
class Task:
    """One method on one test set.

    Attributes
    ----------
    test_set : str
    scale : int
    network : PublishedNetwork or None
        None is bicubic upscaling.
    modes : tuple of str
        Of the engine, in which a network is scored beside PyTorch if it is published in them.
    zoo : Path
    """

    test_set: str
    scale: int
    network: PublishedNetwork | None = None
    modes: tuple[str, ...] = tuple(MODES)
    zoo: Path = ZOO

    @property
    def method(self) -> str:
        """The name of the network, or ``bicubic-x<scale>``."""
        return f"bicubic-x{self.scale}" if self.network is None else self.network.name

    def scores(self) -> dict[str, list[Score]]:
        """Score every image by every backend."""
        images = PreparedSet.open(prepared_folder(self.test_set))
        if self.network is None:
            return {"bicubic": evaluate(lambda image: imresize(image, self.scale), images, self.scale)}
        modes = set(VARIANT_MODES if self.network.variant else MODES) & set(self.modes)
        backends = upscalers(self.network.path(self.zoo), modes)
        return {name: evaluate(upscale, images, self.scale) for name, upscale in backends.items()}


def in_parallel(tasks: Sequence[Task]) -> Iterator[tuple[Task, dict[str, list[Score]]]]:
    """Run tasks, one per processor core at a time, and yield each with its scores as it ends."""
    pool = one_thread_each(max(1, min(os.cpu_count() or 1, len(tasks))))
    try:
        running = {pool.submit(task.scores): task for task in tasks}
        for done in as_completed(running):
            yield running[done], done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def mean_scores(scores: Mapping[str, Sequence[Score]]) -> dict[str, Quality]:
    """Average the scores of each backend over a set."""
    return {backend: means(by_image) for backend, by_image in scores.items()}
