"""Errors that a user can correct, and how command-line programs report them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(Exception):
    """Input that a user can correct: the message names the file, the field and the remedy in one line."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an `InputError` into one line on standard error and exit code 2; end quietly where no one reads any more."""
    try:
        yield
        sys.stdout.flush()  # a reader that is gone, such as head, shows here
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where Python flushes the rest at its end
        sys.exit(1)
