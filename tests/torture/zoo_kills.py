"""The commands of the zoo, and the workers and the scheduler of a cluster that trains it, killed at random moments."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.packed import read
from tests.small_zoo import NAMES, Place

if TYPE_CHECKING:
    from tests.cluster.small_cluster import Cluster

WORKERS = ("one", "two")
QUEUE = ("--params", "params.yaml", "--queue", "queue.yaml")
VERIFY = ("--all", "--sets", "embedded-test")
COMMANDS = {"train": QUEUE, "verify": VERIFY}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
OF_SERVERS = (signal.SIGKILL, signal.SIGTERM)

Networks = dict[str, dict[str, bytes]]


@cache
def _untrained(root: Path) -> Place:
    """A place with image sets and a queue of tiny networks."""
    (root / "untrained").mkdir()
    return Place.prepared(root / "untrained")


@contextmanager
def _cluster(folder: Path) -> Iterator[Cluster]:
    """A scheduler and two workers."""
    from tests.cluster.small_cluster import Cluster  # which skips where the extra `cluster` is missing

    cluster = Cluster(folder)
    try:
        for name in WORKERS:
            cluster.add(name)
        yield cluster
    finally:
        cluster.close()


def _start(folder: Path, command: str, *where: str) -> subprocess.Popen[str]:
    """Start the training of the queue or the verification of the zoo."""
    from tests.cluster.small_cluster import start

    return start(folder, command, *COMMANDS[command], *where)


@cache
def _undisturbed(root: Path, command: str) -> tuple[Place, Place, float, int]:
    """A place before and after a command on a cluster, the seconds that it took, and the lines that it wrote."""
    before = _untrained(root) if command == "train" else _published(root)[0]
    place = before.copy(root / f"after-{command}")
    with _cluster(place.folder) as cluster:
        begin = time.perf_counter()
        process = _start(place.folder, command, "--scheduler", cluster.address)
        said, _ = process.communicate()
        seconds = time.perf_counter() - begin
    assert process.returncode == 0, said
    return before, place, seconds, len(said.splitlines())


@cache
def _published(root: Path) -> tuple[Place, float]:
    """A place whose networks are published, and the seconds that their verification takes."""
    _, trained, *_ = _undisturbed(root, "train")
    place = trained.copy(root / "published")
    place.run("publish", "--sets", "embedded-test")
    begin = time.perf_counter()
    said, _ = place.start("verify", *VERIFY).communicate()
    assert _all_equal(said), said
    return place, time.perf_counter() - begin


def _networks(folder: Path) -> Networks:
    found = {}
    for name in NAMES:
        packed = read(folder / "zoo" / f"{name}.safetensors")
        found[name] = {key: value.tobytes() for key, value in [*packed.binary.items(), *packed.tensors.items()]}
    return found


def _all_equal(said: str) -> bool:
    return re.search(r"^all \d+ equal", said, re.MULTILINE) is not None


def _temporary(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


def attempt_verifying(seed: int, folder: Path) -> str:
    published, seconds = _published(folder.parent)
    rng = np.random.default_rng(seed)
    place = published.copy(folder / "place")
    killed = 0
    for _ in range(rng.integers(1, 3)):
        process = place.start("verify", *VERIFY)
        time.sleep(rng.uniform(0, seconds))
        killed += process.poll() is None
        process.send_signal(int(rng.choice(SIGNALS)))
        process.communicate()
    process = place.start("verify", *VERIFY)
    said, _ = process.communicate()
    assert process.returncode == 0 and _all_equal(said) and "Traceback" not in said, said[-300:]
    assert not _temporary(place.folder) and not (place.folder / "zoo/unfinished/.verify.json").exists()
    return "the next call completed it: all scores equal" if killed else "ended before the signal"


def attempt_cluster(seed: int, folder: Path) -> str:
    command = tuple(COMMANDS)[seed // 3 % 2]
    before, after, seconds, lines = _undisturbed(folder.parent, command)
    rng = np.random.default_rng(seed)
    place = before.copy(folder / "place")
    killed = ("scheduler", *WORKERS)[seed % 3]  # in turns, so that few attempts try all
    with _cluster(place.folder) as cluster:
        server = cluster.scheduler if killed == "scheduler" else cluster.workers[killed]
        process = _start(place.folder, command, "--scheduler", cluster.address)
        assert process.stdout is not None
        for _ in range(rng.integers(lines)):  # what it wrote says how far it is, on a machine of any speed
            process.stdout.readline()
        time.sleep(rng.uniform(0, seconds / lines))
        ended = process.poll() is not None
        server.send_signal(int(rng.choice(OF_SERVERS)))
        said, _ = process.communicate()
    assert "Traceback" not in said, said[-300:]
    completed = process.returncode == 0
    if not completed:
        assert killed == "scheduler" and process.returncode == 2 and said.count("error: ") == 1, said[-300:]
        process = _start(place.folder, command, "--local", "1")
        said, _ = process.communicate()
        assert process.returncode == 0, said[-300:]
    if command == "train":
        assert _networks(place.folder) == _networks(after.folder)
    else:
        assert _all_equal(said) or ended, said[-300:]  # that line may have been read before
    assert not _temporary(place.folder)
    if ended:
        return "ended before the signal"
    what = "the scheduler" if killed == "scheduler" else "a worker"
    same = "the same networks" if command == "train" else "all scores equal"
    return f"{what} died; the {'same' if completed else 'next'} call completed it: {same}"
