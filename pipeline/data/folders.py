"""Write folders atomically."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import writing


@contextmanager
def atomic_folder(destination: Path) -> Iterator[Path]:
    """Yield an empty temporary folder; on success it replaces `destination`, on failure it is removed.

    The leftover of an interrupted run is removed first.

    Raises
    ------
    InputError
        If the operating system does not write it, as on a full disk.
    """
    temporary = destination.with_name(f".{destination.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    with writing(destination):
        temporary.mkdir(parents=True)
        try:
            yield temporary
            if destination.exists():
                shutil.rmtree(destination)
            os.replace(temporary, destination)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
