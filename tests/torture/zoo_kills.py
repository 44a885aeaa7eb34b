"""The commands of the zoo, and the workers and the scheduler of a cluster that trains it, killed at random moments."""

from __future__ import annotations

import re
import signal
import time
from functools import cache
from pathlib import Path

import numpy as np

from pipeline.packed import read
from tests.small_zoo import NAMES, Place

QUEUE = ("--params", "params.yaml", "--queue", "queue.yaml")
VERIFY = ("--all", "--sets", "embedded-test")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
OF_SERVERS = (signal.SIGKILL, signal.SIGTERM)

Networks = dict[str, dict[str, bytes]]


@cache
def _untrained(root: Path) -> Place:
    """A place with image sets and a queue of tiny networks."""
    (root / "untrained").mkdir()
    return Place.prepared(root / "untrained")


@cache
def _trained(root: Path) -> tuple[Place, Networks, float]:
    """A place whose queue has been trained undisturbed on a cluster, its networks, and the seconds that it took."""
    from tests.cluster.small_cluster import Cluster, start  # which skips where the extra `cluster` is missing

    place = _untrained(root).copy(root / "trained")
    cluster = Cluster(place.folder)
    try:
        for name in ("one", "two"):
            cluster.add(name)
        begin = time.perf_counter()
        process = start(place.folder, "train", *QUEUE, "--scheduler", cluster.address)
        said, _ = process.communicate()
        seconds = time.perf_counter() - begin
    finally:
        cluster.close()
    assert process.returncode == 0, said
    return place, _networks(place.folder), seconds


@cache
def _published(root: Path) -> tuple[Place, float]:
    """A place whose networks are published, and the seconds that their verification takes."""
    trained, *_ = _trained(root)
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
    from tests.cluster.small_cluster import Cluster, start

    _, expected, seconds = _trained(folder.parent)
    rng = np.random.default_rng(seed)
    place = _untrained(folder.parent).copy(folder / "place")
    cluster = Cluster(place.folder)
    try:
        for name in ("one", "two"):
            cluster.add(name)
        name, number = rng.choice(["scheduler", "one", "two"]), int(rng.choice(OF_SERVERS))
        process = start(place.folder, "train", *QUEUE, "--scheduler", cluster.address)
        time.sleep(rng.uniform(0, seconds))
        ended = process.poll() is not None
        (cluster.scheduler if name == "scheduler" else cluster.workers[name]).send_signal(number)
        said, _ = process.communicate()
    finally:
        cluster.close()
    assert "Traceback" not in said, said[-300:]
    completed = process.returncode == 0
    if not completed:
        assert name == "scheduler" and process.returncode == 2 and said.count("error: ") == 1, said[-300:]
        process = start(place.folder, "train", *QUEUE, "--local", "1")
        said, _ = process.communicate()
        assert process.returncode == 0, said[-300:]
    assert _networks(place.folder) == expected
    assert not _temporary(place.folder)
    if ended:
        return "ended before the signal"
    return f"the {'same' if completed else 'next'} call completed it: the same networks"
