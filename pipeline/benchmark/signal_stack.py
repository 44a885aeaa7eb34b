"""The alternate signal stack of a thread, which OpenVINO replaces."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Give this thread the alternate signal stack again that it has now, whatever OpenVINO does to it.

    Each core of OpenVINO sets a stack of its own, and frees it in the end, with the one that it found before put back.
    Where cores do not end in the reverse of their order, that one has been freed too: the next signal, such as that of
    Ctrl-C, would end the process by a segmentation fault. A core that finds another stack than its own leaves it.
    """
    if sys.platform != "linux":
        yield
        return
    c_library = ctypes.CDLL(None)
    stack = ctypes.create_string_buffer(64)  # for a `stack_t`, which has 24 bytes
    c_library.sigaltstack(None, stack)
    try:
        yield
    finally:
        c_library.sigaltstack(stack, None)
