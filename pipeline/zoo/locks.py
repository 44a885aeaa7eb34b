"""Sharing work among processes that share a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

GLANCE_SECONDS = 0.5  # `is_claimed` holds a lock for less


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Hold the lock file `path`, unless another process does; the system releases it when its process ends.

    Yields
    ------
    bool
        Whether this process holds the lock.
    """
    lock = FileLock(path)
    with suppress(Timeout):
        lock.acquire(timeout=GLANCE_SECONDS)
    try:
        yield lock.is_locked
    finally:
        lock.release()


def is_claimed(path: Path) -> bool:
    """Return whether a process holds the lock file `path`."""
    if not path.exists():
        return False
    with claimed(path) as acquired:
        return not acquired
