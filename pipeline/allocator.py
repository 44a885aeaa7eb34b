"""Keeping memory that was freed, so that large images do not wait for the system to clear the same pages again."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

# Of glibc's mallopt(3), whose names C headers alone know.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Keep what this process frees from now on for what it allocates next, where the C library is glibc.

    By default every block beyond 32 MiB is taken from the system and given back, and the system clears each of its
    pages at the first use. PyTorch allocates every layer's output again, and on large images waits for that as long as
    it computes. Other runtimes, and our engine, keep their memory anyway. What is kept can grow by some blocks, where
    small ones settle in what was freed.
    """
    if (mallopt := _function("mallopt")) is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)


def give_back_freed_memory() -> None:
    """Give back what `keep_freed_memory` has kept: gaps between blocks for images of many sizes add up to gigabytes."""
    if (malloc_trim := _function("malloc_trim")) is not None:
        malloc_trim(0)


def _function(name: str) -> Any:
    """Return a function of glibc, or None where there is none."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
