"""All tests, in random order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

COUNTS = "tests/test_torture.py::test_the_committed_counts_are_of_every_suite_and_none_failed"  # which are made here


def attempt(seed: int, folder: Path) -> str:
    order = ["-p", "randomly", "-p", "no:cacheprovider", f"--randomly-seed={seed}", f"--basetemp={folder / 'tests'}"]
    options = ["--numprocesses=2", "--dist=loadfile", "--exitfirst", f"--deselect={COUNTS}"]
    command = [sys.executable, "-m", "pytest", *order, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-300:]} {done.stderr[:300]}"
    return "all passed"
