"""Errors that a user can correct, and how command-line programs report them."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class InputError(Exception):
    """Input that a user can correct: the message names the file, the field and the remedy in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


FULL = (errno.ENOSPC, errno.EDQUOT)
DISK = (*FULL, errno.EROFS)  # how writing fails on a disk that takes nothing more
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)


def unwritten(path: object, error: OSError) -> InputError:
    """Return the error of a path that the operating system does not write, with its reason."""
    if error.errno in FULL:
        return InputError(f"{path}: the disk is full ({error.strerror}); make room, and run the same command again")
    reason = error.strerror or error
    return InputError(f"{path}: cannot be written ({reason}); choose another folder, or make it writable")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name `path` where the operating system does not write it: a full disk names no file.

    Raises
    ------
    InputError
        See `unwritten`.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (*DISK, *UNWRITABLE):  # as of what is read in the meantime
            raise
        raise unwritten(path, error) from error


def printable(text: str) -> str:
    """Escape what a terminal would obey, not show: a file name may have line ends and colours."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(text: str) -> None:
    """Print a line to standard error; nowhere if that is closed or full."""
    with suppress(OSError):
        print(printable(text), file=sys.stderr, flush=True)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an `InputError` into one line on standard error and exit code 2; end quietly where no one reads any more."""
    _open_standard_streams()
    code = None
    try:
        yield
        sys.stdout.flush()  # a reader that is gone, such as head, shows here
    except InputError as error:
        _end_progress()
        say(f"error: {error}")
        code = 2
    except BrokenPipeError:
        code = 1
    except OSError as error:
        if error.errno not in DISK:
            raise
        _end_progress()
        say(f"error: {unwritten(error.filename or 'standard output', error)}")
        code = 2
    finally:
        _discard_unwritten()
    if code is not None:
        sys.exit(code)


def _end_progress() -> None:
    """End the lines of the progress bars that are still open: the error would be printed behind one."""
    if tqdm := sys.modules.get("tqdm"):
        for bar in list(tqdm.tqdm._instances):
            bar.close()


def _open_standard_streams() -> None:
    """Open the standard streams that are closed: the next file to be opened would take their place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # stays open
        elif number and isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a sign, such as ×


def _discard_unwritten() -> None:
    """Have Python not try again at its end to write what could not be written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
