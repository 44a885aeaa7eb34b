"""Stopping long work cleanly on SIGINT, SIGTERM or SIGHUP."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = 128 + signal.SIGTERM  # exit code of a program that saved what it had and ended on one of them


class Interruption:
    """Whether one of `SIGNALS` has come since `interruptible` was entered."""

    def __init__(self) -> None:
        self.asked = False

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Record the signals instead of stopping at once; for the main thread only.

    SIGHUP stays ignored where it is: nohup ignores it for the programs that it starts.
    """
    interruption = Interruption()
    heeded = [number for number in SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    handlers = {number: signal.signal(number, interruption._ask) for number in heeded}
    try:
        yield interruption
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
