"""Sharing work among processes of one machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

GLANCE_SECONDS = 0.5  # whoever looks whether a lock is held holds it for less


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` for this process, unless another one does; the system lets go when a process ends.

    Yields
    ------
    bool
        Whether the lock is this process's.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=GLANCE_SECONDS)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def is_claimed(path: Path) -> bool:
    """Whether some process holds the lock file `path`."""
    if not path.exists():
        return False
    with claimed(path) as mine:
        return not mine
