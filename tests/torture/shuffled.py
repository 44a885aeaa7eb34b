"""All tests, in random order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

COUNTS = "tests/test_torture.py::test_the_committed_counts_are_of_every_suite_and_none_failed"  # which are made here


def attempt(seed: int, folder: Path) -> str:
    order = ["-p", "randomly", "-p", "no:cacheprovider", f"--randomly-seed={seed}", f"--basetemp={folder / 'tests'}"]
    options = ["--numprocesses=2", "--dist=loadfile", f"--deselect={COUNTS}"]
    command = [sys.executable, "-m", "pytest", *order, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    assert done.returncode == 0, f"{failed or done.stdout[-300:]} {done.stderr[:300]}"
    return "all passed"
