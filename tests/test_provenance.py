"""Tests of what is written down beside every number: which code made it, on which machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pipeline.provenance import environment

RECORDS = ("dvc.lock", "zoo/index.json", "ratios/avx2/vdsr.json")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository of one commit, as the working directory."""
    for name in ("code.py", *RECORDS):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    monkeypatch.chdir(tmp_path)
    identity = ("-c", "user.name=A. Tester", "-c", "user.email=tester@example.org")
    for command in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "One")):
        subprocess.run(["git", *command], check=True)
    return tmp_path


def test_a_clean_checkout_is_named_by_its_commit(checkout: Path) -> None:
    found = environment()
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert (found["commit"], found["dirty"]) == (head, False)
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert found["packages"]["numpy"]


def test_changed_code_is_said(checkout: Path) -> None:
    (checkout / "code.py").write_text("after")
    assert environment()["dirty"]


@pytest.mark.parametrize("name", [*RECORDS, "new.py"])
def test_records_of_runs_and_files_unknown_to_git_are_no_change_of_the_code(checkout: Path, name: str) -> None:
    (checkout / name).write_text("after")
    assert not environment()["dirty"]


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment()["commit"] is None
