"""Shared fixtures: where the image mirror lies, a small zoo, a small repository, and hypothesis with a fixed seed."""

import os

# Before PyTorch and Numba: test processes share the cores, and threads that spin at a barrier would keep those off that
# they wait for.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=False)
hypothesis.settings.load_profile("repeatable")


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
    from tests.small_repository import CUT_OFF, Repository, network_can_be_cut

    def make(folder):
        prefix = CUT_OFF if network_can_be_cut() else ()
        Repository.small(folder, published.folder / "zoo").dvc("repro", prefix=prefix)

    return Repository(made_once(tmp_path_factory, "repository", make))
