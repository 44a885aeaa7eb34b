"""`dvc repro` is killed, or files of its cache and outputs are lost: the next call ends with the same outputs."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.packed import read
from tests.small_repository import Repository

STAGES = ("evaluate", "bicubic")  # with all that they need
OUTPUTS = ("data", "models", "history", "packed", "results/train", "results/export", "results/evaluate")
LOCK_FILE = Path(".dvc/tmp/rwlock")  # DVC writes it in place
TIMES = {"seconds", "cpu_seconds", "images_per_second"}


@cache
def _fresh(root: Path) -> Repository:
    """A repository in which nothing has run."""
    (root / "zoo").mkdir()
    return Repository.small(root / "fresh", root / "zoo")


@cache
def _whole(root: Path) -> tuple[Repository, float]:
    """A repository in which the pipeline has run, and the seconds that it took."""
    repository = _fresh(root).copy(root / "whole")
    start = time.perf_counter()
    repository.dvc("repro", *STAGES)
    return repository, time.perf_counter() - start


def _outputs(folder: Path) -> dict[str, Any]:
    """The outputs by their paths; times aside, and sizes, which follow from the digits of a time."""
    paths = [path for name in OUTPUTS for path in sorted((folder / name).rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): _content(path.relative_to(folder), folder) for path in paths}


def _content(path: Path, folder: Path) -> Any:
    if path.parts[0] == "packed":
        packed = read(folder / path)
        tensors = {name: value.tobytes() for name, value in [*packed.binary.items(), *packed.tensors.items()]}
        training = {key: value for key, value in packed.metadata["training"].items() if key not in TIMES}
        return packed.config, packed.metadata | {"training": training}, tensors
    if path.parent in (Path("results/train"), Path("results/export")):
        aside = TIMES | {"bytes", "header"}
        return {key: value for key, value in json.loads((folder / path).read_text()).items() if key not in aside}
    return (folder / path).read_bytes()


def attempt_losing(seed: int, folder: Path) -> str:
    whole, rng = _whole(folder.parent)[0], np.random.default_rng(seed)
    of_cache, of_outputs = rng.choice([0, 0.3, 1]), rng.choice([0.1, 0.3, 1])
    return lose_and_repeat(whole.copy(folder / "repository"), of_cache, of_outputs, rng)


def lose_and_repeat(
    repository: Repository,
    of_cache: float,
    of_outputs: float,
    rng: np.random.Generator,
    outputs: Sequence[str] = OUTPUTS,
) -> str:
    """Remove these shares of the files of a repository in which the pipeline has run, and run it again."""
    expected = _outputs(repository.folder)
    for places, share in (((".dvc/cache",), of_cache), (outputs, of_outputs)):
        files = [path for place in places for path in sorted((repository.folder / place).rglob("*")) if path.is_file()]
        for path in files:
            if rng.random() < share:
                path.unlink()
    made = repository.dvc("repro", *STAGES).count("Running stage")
    assert _outputs(repository.folder) == expected
    assert "Running stage" not in repository.dvc("repro", *STAGES)
    return "the same outputs, of stages that ran again" if made else "the same outputs, from the cache"


def _is_cut(lock_file: Path) -> bool:
    try:
        json.loads(lock_file.read_text())
    except FileNotFoundError:
        return False
    except json.JSONDecodeError:
        return True
    return False


def attempt_killing(seed: int, folder: Path) -> str:
    (whole, seconds), rng = _whole(folder.parent), np.random.default_rng(seed)
    repository = _fresh(folder.parent).copy(folder / "repository")
    kills = 0
    for _ in range(rng.integers(1, 4)):
        process = repository.start("repro", *STAGES)
        time.sleep(rng.uniform(0, seconds))
        if process.poll() is None:
            os.killpg(process.pid, rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
            kills += 1
        process.communicate()
    cut = _is_cut(repository.folder / LOCK_FILE)
    if cut:  # what the README says to do
        (repository.folder / LOCK_FILE).unlink()
    repository.dvc("repro", *STAGES)
    assert _outputs(repository.folder) == _outputs(whole.folder)
    assert "Running stage" not in repository.dvc("repro", *STAGES)
    left = {path.name for path in repository.folder.rglob("*") if path.name.endswith((".tmp", ".lock"))}
    assert left <= {"dvc.lock", "rwlock.lock"}, left  # both are DVC's, and stay
    if cut:
        return f"the same outputs, after {LOCK_FILE} was removed, which DVC had written half"
    return "the next call completed it: the same outputs" if kills else "ended before the signal"
