"""A small zoo, trained and published by the commands that make the real one."""

import pytest

from tests.small_zoo import Place


@pytest.fixture(scope="session")
def untrained(tmp_path_factory) -> Place:
    """A place with its image sets and nothing trained, to be copied."""
    return Place.prepared(tmp_path_factory.mktemp("untrained"))


@pytest.fixture(scope="session")
def published(untrained, tmp_path_factory) -> Place:
    """A place whose zoo is trained and published; to be read or copied."""
    place = untrained.copy(tmp_path_factory.mktemp("published") / "place")
    place.run("train", "--queue", "queue.yaml")
    place.run("publish", "--sets", "embedded-test")
    return place
