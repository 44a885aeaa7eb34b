"""Stopping long work cleanly on SIGINT or SIGTERM."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOPPED = 128 + signal.SIGTERM  # exit code of a program that saved what it had and ended on one of them


class Interruption:
    """Whether SIGINT or SIGTERM has come since `interruptible` was entered."""

    def __init__(self) -> None:
        self.asked = False

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Record the signals instead of stopping at once; for the main thread only."""
    interruption = Interruption()
    handlers = [signal.signal(number, interruption._ask) for number in SIGNALS]
    try:
        yield interruption
    finally:
        for number, handler in zip(SIGNALS, handlers, strict=True):
            signal.signal(number, handler)
