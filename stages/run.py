"""How every stage runs: errors in one line, and its duration kept for the report."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import one_line_errors
from pipeline.files import write_json
from pipeline.runs import seconds_file


@contextmanager
def stage() -> Iterator[None]:
    """Run a stage's body; where DVC runs it, which names it, write how long that took."""
    start = time.perf_counter()
    with one_line_errors():
        yield
        if name := os.environ.get("DVC_STAGE"):
            write_json(seconds_file(name.rpartition(":")[2]), {"seconds": round(time.perf_counter() - start, 2)})
