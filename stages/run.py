"""Run a stage as a program, and record its duration for the report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import one_line_errors
from pipeline.files import sweep, write_json
from pipeline.program import run_program
from pipeline.runs import seconds_file

WRITTEN = ("checkpoints", "data", "history", "models", "packed", "reports", "results")  # where stages write


def stage(main: Callable[..., None]) -> None:
    """Run a stage's function; where DVC runs it, and so names it, write its duration."""
    start = time.perf_counter()
    with one_line_errors():
        for folder in map(Path, WRITTEN):
            sweep(Path(found) for found, _, _ in os.walk(folder))  # passes over what another stage removes
        run_program(main)
        if name := os.environ.get("DVC_STAGE"):
            write_json(seconds_file(name.rpartition(":")[2]), {"seconds": round(time.perf_counter() - start, 2)})
