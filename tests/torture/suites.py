"""The suites, with the number of attempts that `python -m tests.torture` makes."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.torture import (
    disk,
    downloads,
    guarded,
    images,
    kills,
    large,
    numbers,
    packed_files,
    parameters,
    repositories,
    shuffled,
    zoo_kills,
)

Attempt = Callable[[int, Path], str]
SUITES: dict[str, tuple[str, int, Attempt]] = {
    "packed-files": ("a packed file is damaged, or its header lies", 100_000, packed_files.attempt),
    "images": ("an image file is cut or changed", 20_000, images.attempt),
    "params": ("params.yaml has one to three wrong values", 5_000, parameters.attempt),
    "numbers": ("weights are zero, equal, negative or huge, images of one colour or pixel", 1_000, numbers.attempt),
    "large": ("`binsr upscale` of 10,000 files, one of them damaged, and of 100 megapixels", 4, large.attempt),
    "guard-pages": ("the kernels' tests, with guard pages around every array", 12, guarded.attempt),
    "random-order": ("all tests, in random order", 2, shuffled.attempt),
    "downloads": ("the server cuts, lies, sends wrong bytes, redirects in circles, refuses", 1_000, downloads.attempt),
    "full-disk": ("the disk becomes full while a program writes", 100, disk.attempt_full),
    "read-only-disk": ("a program must write to a disk that is read-only", 50, disk.attempt_read_only),
    "lost-outputs": ("files of DVC's cache and outputs are removed, then `dvc repro`", 10, repositories.attempt_losing),
    "killed-pipeline": (
        "`dvc repro` gets SIGKILL, SIGTERM or SIGINT, up to three times",
        20,
        repositories.attempt_killing,
    ),
    "killed-upscaling": ("`binsr upscale` gets SIGKILL, SIGTERM, SIGINT or SIGHUP", 50, kills.attempt_upscaling),
    "killed-training": ("a training gets one of these signals, sometimes twice", 50, kills.attempt_training),
    "killed-verification": (
        "`make verify` gets one of these signals, sometimes twice",
        30,
        zoo_kills.attempt_verifying,
    ),
    "killed-cluster": (
        "a worker or the scheduler of a cluster gets SIGKILL or SIGTERM during `make train` or `make verify`",
        24,
        zoo_kills.attempt_cluster,
    ),
}


def run(attempt: Attempt, seeds: range, folder: Path) -> tuple[Counter[str], list[str]]:
    """Make attempts; return the outcomes with their counts, and what must not have happened."""
    outcomes: Counter[str] = Counter()
    faults = []
    for seed in seeds:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            try:
                outcomes[attempt(seed, Path(place))] += 1
            except Exception as error:
                faults.append(f"seed {seed}: {type(error).__name__}: {' '.join(str(error).split()):.300}")
    return outcomes, faults


def run_suite(name: str, seeds: range, root: Path) -> tuple[Counter[str], list[str]]:
    """Make the attempts of a suite with these seeds, see `run`; each process prepares the suite's folder once."""
    folder = root / f"{name}-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    return run(SUITES[name][2], seeds, folder)
