"""The alternate signal stack of a thread, which OpenVINO replaces."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Put this thread's alternate signal stack back at the end of the block, whatever OpenVINO did to it.

    Each core of OpenVINO sets a stack of its own; when the core ends, it restores the stack that it had found and frees
    its own. If cores do not end in the reverse order of their creation, the restored stack may be freed already: the
    next signal, such as that of Ctrl-C, would end the process with a segmentation fault. A core whose stack is no
    longer set restores nothing.
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
