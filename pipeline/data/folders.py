"""Write folders atomically."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import writing
from pipeline.files import sweep, temporary_for


@contextmanager
def atomic_folder(destination: Path) -> Iterator[Path]:
    """Yield an empty temporary folder; on success it replaces `destination`, on failure it is removed.

    The leftovers of interrupted runs are removed first. Of processes that write it at once, the last one's stays.

    Raises
    ------
    InputError
        If the operating system does not write it, as on a full disk.
    """
    destination = Path(os.path.realpath(destination))  # a link stays, and its folder is replaced
    temporary = temporary_for(destination)
    with writing(destination):
        sweep([destination.parent])
        shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed and had this one's number
        temporary.mkdir(parents=True)
        try:
            yield temporary
            _replace(destination, temporary)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _replace(destination: Path, folder: Path) -> None:
    """Put a folder in the place of `destination`, which another process may replace at the same time."""
    while True:
        with suppress(FileNotFoundError):
            shutil.rmtree(destination)
        try:
            os.replace(folder, destination)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
