"""Re-evaluate the published networks in PyTorch and in the engine, and compare with the published scores.

By default the main networks on Set5 and Set14, in PyTorch and in the engine's float32 and int8 modes; `--all` adds the
variants (those that serve to compare trainings in PyTorch alone), B100, Urban100 and the other modes of the engine (see
`pipeline.zoo.scores`). Each processor core evaluates its own network. An interrupted verification resumes if the code
is unchanged.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pipeline.data.ready import ready
from pipeline.engine.modes import modes_here
from pipeline.errors import InputError
from pipeline.program import run_program
from pipeline.records import Quality, Score
from pipeline.zoo.catalogue import RESULTS, TEST_SETS, ZOO, read_index, read_published, scores_of
from pipeline.zoo.progress import Progress
from pipeline.zoo.scores import Task, in_parallel, mean_scores

QUICK_SETS = ("Set5", "Set14")
QUICK_MODES = ("engine_float32", "engine_int8")
Scored = Iterator[tuple[Task, dict[str, list[Score]]]]
TOLERANCES = {"psnr_y": 0.01, "psnr_rgb": 0.01, "ssim_y": 0.0005}  # dB, dB, absolute


@dataclass(frozen=True)
class ScoreCheck:
    """One backend of one method on one set: the published and the measured means."""

    method: str
    test_set: str
    backend: str
    published: Quality | None
    measured: Quality | None

    @property
    def apart(self) -> list[str]:
        """The means that differ by more than `TOLERANCES`, or are missing on one side only."""
        if self.published is None or self.measured is None:
            return list(TOLERANCES)
        return [
            key
            for key, tolerance in TOLERANCES.items()
            if not _near(getattr(self.published, key), getattr(self.measured, key), tolerance)
        ]

    def __str__(self) -> str:
        measured, published = (side.psnr_y if side else float("nan") for side in (self.measured, self.published))
        values = f"{measured:8.4f}  published {published:8.4f}"
        verdict = f"DIFFERENT in {', '.join(self.apart)}" if self.apart else "equal"
        return f"{self.method:28} {self.test_set:10} {self.backend:16} PSNR-Y {values}  {verdict}"


def tasks_of(zoo: Path, sets: Sequence[str], modes: Sequence[str], only: Sequence[str] | None) -> list[Task]:
    """Return the tasks that evaluate all networks, or those in `only`, and bicubic upscaling at their scales.

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
    results = zoo / RESULTS
    for network in chosen:
        if not scores_of(network, published):
            raise InputError(f"{results}: {network.name}: its scores belong to another file; run `make publish`")
        network.path(zoo)  # checks that the file exists and is the published one
    tasks = []
    for name in sets:
        tasks += [Task(name, scale) for scale in sorted({network.scale for network in chosen})]
        tasks += [Task(name, network.scale, network, ("torch", *modes), zoo) for network in chosen]
    for task in tasks:
        if task.method not in published or task.test_set not in published[task.method].sets:
            raise InputError(f"{results}: {task.method}: has no scores on {task.test_set}; run `make publish`")
    return tasks


def compare(
    zoo: Path, tasks: Sequence[Task], run: Callable[[Sequence[Task]], Scored] = in_parallel
) -> Iterator[list[ScoreCheck]]:
    """Run tasks, by default on the cores of this machine, and yield the checks of one method on one set at a time."""
    for name in dict.fromkeys(task.test_set for task in tasks):
        ready(name)
    published, progress = read_published(zoo), Progress(zoo / "unfinished" / ".verify.json")
    kept = [task for task in tasks if _key(task) in progress]
    if kept:
        print(f"kept from an interrupted verification: {len(kept)} of {len(tasks)}")
    for task in kept:
        yield _compared(task, published[task.method].sets[task.test_set], progress[_key(task)])
    for task, scores in run([task for task in tasks if _key(task) not in progress]):
        progress.keep(_key(task), mean_scores(scores))
        yield _compared(task, published[task.method].sets[task.test_set], progress[_key(task)])
    progress.forget([_key(task) for task in tasks])


def _key(task: Task) -> str:
    """Identify a task's scores; it changes with the network's file and the modes."""
    details = f" ({task.network.sha256}) by {', '.join(task.backends)}" if task.network else ""
    return f"{task.method}{details} on {task.test_set}"


def _compared(task: Task, published: Mapping[str, Quality], measured: Mapping[str, Quality]) -> list[ScoreCheck]:
    expected = {name for name in published if name in ("bicubic", *task.backends)}
    return [
        ScoreCheck(task.method, task.test_set, backend, published.get(backend), measured.get(backend))
        for backend in sorted(expected | measured.keys())
    ]


def _near(one: float | None, other: float | None, tolerance: float) -> bool:
    return one is other is None or (one is not None and other is not None and abs(one - other) <= tolerance)


def verify(
    zoo: Path,
    sets: Sequence[str] | None,
    models: Sequence[str] | None,
    everything: bool,
    run: Callable[[Sequence[Task]], Scored] = in_parallel,
    available: Callable[[], Sequence[str]] = modes_here,
) -> int:
    """Print how the scores compare with the published ones, and return the exit code; `main` has the parameters.

    `run` scores tasks, and `available` returns the engine's modes that the processors which do so can run.
    """
    chosen = sets or (TEST_SETS if everything else QUICK_SETS)
    modes = available() if everything else QUICK_MODES
    if not (models or everything):
        models = [network.name for network in read_index(zoo) if not network.variant] or None
    compared: list[ScoreCheck] = []
    tasks = tasks_of(zoo, chosen, modes, models)
    for number, checks in enumerate(compare(zoo, tasks, run), 1):
        compared += checks
        print("\n".join(f"{number:3}/{len(tasks)}  {check}" for check in checks), flush=True)
    different = sum(bool(check.apart) for check in compared)
    if different:
        print(f"error: {different} of {len(compared)} differ from {zoo / RESULTS}", file=sys.stderr)
        return 1
    print(f"all {len(compared)} equal: within {TOLERANCES['psnr_y']} dB and {TOLERANCES['ssim_y']} of SSIM")
    return 0


def main(
    zoo: Annotated[Path, typer.Option(help="The zoo's folder.")] = ZOO,
    sets: Annotated[list[str] | None, typer.Option(metavar="NAME…", help="Test sets. Default: Set5 and Set14.")] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME…", help="Networks to verify. Default: the main networks (those without a variant)."),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="All networks, sets and modes that this processor can run; takes hours."),
    ] = False,
) -> None:
    if code := verify(zoo, sets, models, everything):
        sys.exit(code)


if __name__ == "__main__":
    run_program(main)
