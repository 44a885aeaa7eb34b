"""All tests, in random order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def attempt(seed: int, folder: Path) -> str:
    order = ["-p", "randomly", "-p", "no:cacheprovider", f"--randomly-seed={seed}"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--numprocesses=2",
        "--dist=loadfile",
        *order,
        f"--basetemp={folder / 'tests'}",
        "--exitfirst",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-300:]} {done.stderr[:300]}"
    return "all passed"
