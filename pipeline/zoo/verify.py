"""Re-evaluate the published networks in PyTorch and in the engine, and compare with the published scores.

By default on Set5, Set14 and B100, in PyTorch and in the engine's float32 and int8 modes; `--all` adds Urban100 and the
other modes of the engine. Each processor core evaluates its own network. An interrupted verification resumes if the
code is unchanged.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from pipeline.data.prepared import PreparedSet
from pipeline.data.ready import ready
from pipeline.engine.runner import MODES
from pipeline.errors import InputError
from pipeline.evaluation.processes import one_thread_each
from pipeline.program import run_program
from pipeline.runs import prepared_folder
from pipeline.zoo.catalogue import ZOO, Model, read_index, read_published
from pipeline.zoo.progress import Found, Progress
from pipeline.zoo.publish import TEST_SETS
from pipeline.zoo.scores import Means, bicubic_scores, mean_scores, model_scores

QUICK_SETS = ("Set5", "Set14", "B100")
QUICK_MODES = ("engine_float32", "engine_int8")
TOLERANCES = {"psnr_y": 0.01, "psnr_rgb": 0.01, "ssim_y": 0.0005}  # dB, dB, absolute


@dataclass(frozen=True)
class Comparison:
    """One backend of one method on one set: the published and the measured means."""

    method: str
    test_set: str
    backend: str
    published: Means
    measured: Means

    @property
    def apart(self) -> list[str]:
        """The means that differ by more than `TOLERANCES`, or are missing on one side only."""
        return [
            key
            for key, tolerance in TOLERANCES.items()
            if not _near(self.published.get(key), self.measured.get(key), tolerance)
        ]

    def __str__(self) -> str:
        measured, published = (side.get("psnr_y", float("nan")) for side in (self.measured, self.published))
        values = f"{measured:8.4f}  published {published:8.4f}"
        verdict = f"DIFFERENT in {', '.join(self.apart)}" if self.apart else "equal"
        return f"{self.method:28} {self.test_set:10} {self.backend:16} PSNR-Y {values}  {verdict}"


def compare(
    zoo: Path, sets: Sequence[str], modes: Sequence[str], only: Sequence[str] | None, mirror: str | None
) -> Iterator[list[Comparison]]:
    """Evaluate all networks, or those in `only`, and yield the comparisons of one method on one set at a time.

    Raises
    ------
    InputError
        If a network is unknown, its file is not the published one, or it has no published scores on a set.
    """
    published, models = read_published(zoo), read_index(zoo)
    names = [model.name for model in models]
    if unknown := [name for name in only or [] if name not in names]:
        raise InputError(f"{zoo}: has no network {unknown[0]}; choose from {', '.join(names)}")
    chosen = [model for model in models if only is None or model.name in only]
    if not chosen:
        raise InputError(f"{zoo / 'index.json'}: lists no networks; train and publish one")
    for model in chosen:
        if published.get(model.name, {}).get("sha256") != model.sha256:
            raise InputError(
                f"{zoo / 'results.json'}: {model.name}: its scores are of another file; run `make publish`"
            )
        model.path(zoo)  # checks that the file exists and is the published one
    scales = sorted({model.scale for model in chosen})
    tasks = {task.key: task for name in sets for task in _tasks(name, scales, chosen, tuple(modes), zoo)}
    for task in tasks.values():
        if task.test_set not in published.get(task.method, {}).get("sets", {}):
            raise InputError(
                f"{zoo / 'results.json'}: {task.method}: has no scores on {task.test_set}; run `make publish`"
            )
    for name in sets:
        ready(name, mirror)
    progress = Progress(zoo / "unfinished" / ".verify.json")
    kept = [key for key in tasks if key in progress]
    if kept:
        print(f"kept from an interrupted verification: {len(kept)} of {len(tasks)}")
    pool = one_thread_each(max(1, min(os.cpu_count() or 1, len(tasks) - len(kept))))
    try:
        waiting = {pool.submit(task.evaluate): key for key, task in tasks.items() if key not in progress}
        for key in chain(kept, (_keep(done, waiting[done], progress) for done in as_completed(waiting))):
            task = tasks[key]
            yield _compared(task, published[task.method]["sets"][task.test_set], progress[key])
    finally:
        pool.shutdown(cancel_futures=True)
    progress.forget(tasks)


@dataclass(frozen=True)
class _Task:
    """One method on one set: a network, or bicubic upscaling by `scale` if `model` is None."""

    test_set: str
    scale: int
    model: Model | None
    modes: tuple[str, ...]
    zoo: Path

    @property
    def method(self) -> str:
        return self.model.name if self.model else f"bicubic-x{self.scale}"

    @property
    def key(self) -> str:
        """Identifies its scores; it changes with the network's file and the modes."""
        details = f" ({self.model.sha256}) in {', '.join(self.modes)}" if self.model else ""
        return f"{self.method}{details} on {self.test_set}"

    def evaluate(self) -> Found:
        images = PreparedSet.open(prepared_folder(self.test_set))
        if self.model is None:
            return mean_scores({"bicubic": bicubic_scores(images, self.scale)})
        return mean_scores(model_scores(self.model, images, self.zoo, self.modes))


def _tasks(
    test_set: str, scales: Sequence[int], models: Sequence[Model], modes: tuple[str, ...], zoo: Path
) -> Iterator[_Task]:
    for scale in scales:
        yield _Task(test_set, scale, None, modes, zoo)
    for model in models:
        yield _Task(test_set, model.scale, model, modes, zoo)


def _keep(done: Future[Found], key: str, progress: Progress) -> str:
    progress.keep(key, done.result())
    return key


def _compared(task: _Task, published: Mapping[str, Means], measured: Mapping[str, Means]) -> list[Comparison]:
    expected = {name for name in published if name in ("bicubic", "torch", *task.modes)}
    return [
        Comparison(task.method, task.test_set, backend, published.get(backend, {}), measured.get(backend, {}))
        for backend in sorted(expected | measured.keys())
    ]


def _near(one: float | None, other: float | None, tolerance: float) -> bool:
    return one is other is None or (one is not None and other is not None and abs(one - other) <= tolerance)


def main(
    zoo: Annotated[Path, typer.Option(help="The zoo's folder.")] = ZOO,
    sets: Annotated[
        list[str] | None, typer.Option(metavar="NAME…", help="Test sets. Default: Set5, Set14 and B100.")
    ] = None,
    models: Annotated[list[str] | None, typer.Option(metavar="NAME…", help="Networks to verify. Default: all.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All test sets and modes of the engine; takes hours.")
    ] = False,
) -> None:
    chosen = sets or (TEST_SETS if everything else QUICK_SETS)
    modes = tuple(MODES) if everything else QUICK_MODES
    compared: list[Comparison] = []
    for comparisons in compare(zoo, chosen, modes, models, os.environ.get("SR_MIRROR")):
        compared += comparisons
        print("\n".join(map(str, comparisons)), flush=True)
    different = sum(bool(comparison.apart) for comparison in compared)
    if different:
        print(f"error: {different} of {len(compared)} differ from {zoo / 'results.json'}", file=sys.stderr)
        sys.exit(1)
    print(f"all {len(compared)} equal: within {TOLERANCES['psnr_y']} dB and {TOLERANCES['ssim_y']} of SSIM")


if __name__ == "__main__":
    run_program(main)
