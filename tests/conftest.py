"""Shared fixtures: where the image mirror lies, a small zoo, a small repository, and hypothesis with a fixed seed."""

import os

# Before PyTorch and Numba: test processes share the cores, and threads that spin at a barrier would keep those off that
# they wait for.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["BINSR_CACHE"] = os.devnull  # no folder: kernels as they are before they are tuned for a machine

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

# `make torture` gives a seed for every attempt (`--hypothesis-seed`), which has no effect on what is derandomized.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=False)
hypothesis.settings.register_profile("seeded", database=None, deadline=None, print_blob=False)
hypothesis.settings.load_profile("seeded" if "SEEDED" in os.environ else "repeatable")

# Test processes take whole files, in this order: the longest must not be the last. Between them are some that need none
# of the shared fixtures, which the first process that asks for one makes while others wait.
FIRST = (
    "test_readme.py", "kernels/test_kernels.py", "channel/test_bfloat16.py", "cluster/test_repro.py", "zoo/test_zoo.py",
    "cluster/test_zoo.py", "test_pipeline.py", "engine/test_engine.py", "reporting/test_page.py", "test_importing.py",
    "channel/test_blocking.py", "test_torture.py", "test_adding_a_network.py", "training/test_interruption.py",
)  # fmt: skip


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the longest files, unless the order is to be random."""
    if not config.pluginmanager.hasplugin("randomly"):
        ranks = {item.path: _rank(item.path) for item in items}
        items.sort(key=lambda item: ranks[item.path])


def _rank(path: Path) -> int:
    return next((rank for rank, end in enumerate(FIRST) if path.as_posix().endswith(f"/{end}")), len(FIRST))


@pytest.fixture
def root() -> Path:
    """The repository's root."""
    return ROOT


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that is filled by the first of the test processes that ask for it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    done = folder.with_name(f".{name}.done")
    with folder.with_name(f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """A place with its image sets and nothing trained, to be copied."""
    from tests.small_zoo import Place  # which needs ROOT from here

    return Place(made_once(tmp_path_factory, "untrained", Place.prepared))


@pytest.fixture(scope="session")
def published(untrained, tmp_path_factory):
    """A place whose zoo is trained and published; to be read or copied."""
    from tests.small_zoo import Place

    def make(folder):
        place = untrained.copy(folder)
        place.run("train", "--params", "params.yaml", "--queue", "queue.yaml")
        place.run("publish", "--sets", "embedded-test")

    return Place(made_once(tmp_path_factory, "published", make))


@pytest.fixture(scope="session")
def repository(published, tmp_path_factory):
    """A small copy of the repository in which the pipeline has run, with a small zoo; to be copied."""
    from tests.small_repository import CUT_OFF, INTERFACES, Repository, network_can_be_cut

    def make(folder):
        noting = ("sh", "-c", f'cat /proc/net/dev > {INTERFACES}; exec "$@"', "sh")
        prefix = (*CUT_OFF, *noting) if network_can_be_cut() else ()
        Repository.small(folder, published.folder / "zoo").dvc("repro", prefix=prefix)

    return Repository(made_once(tmp_path_factory, "repository", make))
