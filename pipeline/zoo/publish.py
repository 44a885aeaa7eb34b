"""Update the zoo's index, scores, gaps and model cards for the networks in its folder.

A network without scores, or with scores of another file, is run on the test sets by every backend that this processor
can run.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.data.ready import ready
from pipeline.errors import InputError
from pipeline.files import sweep, write_csv
from pipeline.program import run_program
from pipeline.records import score_rows
from pipeline.zoo.cards import write_cards
from pipeline.zoo.catalogue import (
    RESULTS,
    TEST_SETS,
    ZOO,
    Means,
    PublishedNetwork,
    PublishedScores,
    read_published,
    write_index,
    write_published,
)
from pipeline.zoo.gaps import gap_rows
from pipeline.zoo.scores import (
    BACKENDS,
    Task,
    backends_here,
    in_parallel,
    mean_scores,
    published_backends,
    quantized_folder,
)


def publish(zoo: Path, sets: Sequence[str]) -> None:
    """Score networks that have no scores yet, and write all files that depend on the networks and their scores."""
    if not any(zoo.glob("*.safetensors")):
        raise InputError(f"{zoo}: holds no trained network; train one with `make train`")
    networks = write_index(zoo)
    scales = sorted({network.scale for network in networks})
    every = [Task(name, scale, None, ("bicubic",)) for scale in scales for name in sets]
    every += [
        Task(name, network.scale, network, (backend,), zoo)
        for network in networks
        for name in sets
        for backend in backends_here(network, name)
    ]
    hashes = {task.method: None if task.network is None else task.network.sha256 for task in every}
    published = read_published(zoo) if (zoo / RESULTS).exists() else {}
    results = {name: PublishedScores(sha256, {}) for name, sha256 in hashes.items()}
    by_name = {network.name: network for network in networks}
    for name, known in published.items():
        if hashes.get(name, "none") == known.sha256:
            results[name] = PublishedScores(known.sha256, _still_published(known.sets, by_name.get(name)))
    rows = [row for row in _rows(zoo / "results.csv") if _has(results, row["method"], row["set"], row["backend"])]
    tasks = [task for task in every if not _has(results, task.method, task.test_set, task.backends[0])]
    for name in dict.fromkeys(name for task in tasks for name in task.sets):
        ready(name)
    for task, scores in in_parallel(tasks):
        print(f"{task.method} on {task.test_set} by {', '.join(scores)}", flush=True)
        results[task.method].sets.setdefault(task.test_set, {}).update(mean_scores(scores))
        rows += [_rounded(row) for row in score_rows(scores, method=task.method, set=task.test_set)]
        _write(zoo, results, rows)
    _write(zoo, results, rows)
    shutil.rmtree(quantized_folder(zoo), ignore_errors=True)
    gaps = gap_rows(networks, rows)
    if gaps:
        write_csv(zoo / "gaps.csv", gaps)
    else:
        (zoo / "gaps.csv").unlink(missing_ok=True)
    write_cards(zoo, networks, read_published(zoo), gaps)  # in order


def _still_published(sets: Means, network: PublishedNetwork | None) -> Means:
    """Leave out the means of backends in which a network was published once; None is bicubic upscaling."""
    if network is None:
        return sets
    return {
        name: {by: mean for by, mean in means.items() if by in published_backends(network, name)}
        for name, means in sets.items()
    }


def _has(results: Mapping[str, PublishedScores], method: str, test_set: str, backend: str) -> bool:
    """Whether there are means by this backend; without them its rows are left from a call that was killed."""
    return method in results and backend in results[method].sets.get(test_set, {})


def _write(zoo: Path, results: dict[str, PublishedScores], rows: list[dict[str, Any]]) -> None:
    """Write the scores so far, ordered by network and test set, whichever finished first."""
    positions = {name: position for position, name in enumerate((*results, *TEST_SETS, *BACKENDS))}

    def position(name: str) -> tuple[int, str]:
        return positions.get(name, len(positions)), name

    rows.sort(key=lambda row: tuple(position(row[key]) for key in ("method", "set", "backend")))
    write_csv(zoo / "results.csv", rows)
    ordered = {}
    for name, scores in results.items():
        sets = {test_set: scores.sets[test_set] for test_set in sorted(scores.sets, key=position)}
        sets = {test_set: {by: means[by] for by in sorted(means, key=position)} for test_set, means in sets.items()}
        ordered[name] = PublishedScores(scores.sha256, sets)
    write_published(zoo, ordered)


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()}


def _rows(path: Path) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))) if path.exists() else []


def main(
    zoo: Annotated[Path, typer.Option(help="The zoo's folder.")] = ZOO,
    sets: Annotated[
        list[str] | None, typer.Option(metavar="NAME…", help="Test sets. Default: the four standard ones.")
    ] = None,
) -> None:
    if not zoo.is_dir():
        raise InputError(f"{zoo}: no such folder; train a network with `make train`")
    sweep([zoo])
    publish(zoo, sets or TEST_SETS)


if __name__ == "__main__":
    run_program(main)
