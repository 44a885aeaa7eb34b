"""Run a stage as a program, and record its duration for the report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from pipeline.files import write_json
from pipeline.program import run_program
from pipeline.runs import seconds_file


def stage(main: Callable[..., None]) -> None:
    """Run a stage's function; where DVC runs it, and so names it, write its duration."""
    start = time.perf_counter()
    run_program(main)
    if name := os.environ.get("DVC_STAGE"):
        write_json(seconds_file(name.rpartition(":")[2]), {"seconds": round(time.perf_counter() - start, 2)})
