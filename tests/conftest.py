"""Shared fixtures: where the image mirror lies, a small zoo, a small repository, and hypothesis with a fixed seed."""

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


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """A place with its image sets and nothing trained, to be copied."""
    from tests.small_zoo import Place  # which needs ROOT from here

    return Place.prepared(tmp_path_factory.mktemp("untrained"))


@pytest.fixture(scope="session")
def published(untrained, tmp_path_factory):
    """A place whose zoo is trained and published; to be read or copied."""
    place = untrained.copy(tmp_path_factory.mktemp("published") / "place")
    place.run("train", "--queue", "queue.yaml")
    place.run("publish", "--sets", "embedded-test")
    return place


@pytest.fixture(scope="session")
def repository(tmp_path_factory, published):
    """A small copy of the repository in which the pipeline has run, with a small zoo; to be copied."""
    from tests.small_repository import Repository

    made = Repository.small(tmp_path_factory.mktemp("repository"), published.folder / "zoo")
    made.dvc("repro")
    return made
