"""Shared fixtures: where the image mirror lies, and hypothesis with a fixed seed."""

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
