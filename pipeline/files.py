"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pipeline.errors import InputError, writing

if TYPE_CHECKING:
    from PIL.Image import Image


def _machine() -> str:
    """Return what tells this machine from others that may write into a shared folder, containers included."""
    try:
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        processes = ""
    return f"{zlib.crc32(f'{platform.node()}{processes}'.encode()):08x}"


MACHINE = _machine()
LONGEST = 200  # bytes of a name that a temporary name can contain: file systems allow 255
TEMPORARY = re.compile(rf"\..+\.{MACHINE}\.(\d+)\.tmp(\.yaml)?")  # .yaml: of a writer that goes by the suffix


def temporary_for(path: Path) -> Path:
    """Return the path beside `path` where this process writes it; `sweep` knows its form."""
    name = path.name
    if len(os.fsencode(name)) > LONGEST:
        name = f"{zlib.crc32(os.fsencode(name)):08x}"
    return path.with_name(f".{name}.{MACHINE}.{os.getpid()}.tmp")


def check_writable(path: Path) -> None:
    """Make the folder of a file that will be written, and check what can be checked before it is.

    Raises
    ------
    InputError
        If the path is a folder or a device, or its folder cannot be made.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    if (path.exists() and not path.is_file()) or path.absolute().parent == Path("/dev"):
        raise InputError(f"{path}: is not a regular file; choose another name")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path`, on failure it is removed.

    Raises
    ------
    InputError
        If the path is a folder or a device, or the operating system does not write it, as on a full disk.
    """
    temporary = temporary_for(path)
    check_writable(path)
    with writing(path):
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            with suppress(OSError):  # such as a file system that is read-only, where there is none
                temporary.unlink(missing_ok=True)


def sweep(folders: Iterable[Path]) -> None:
    """Remove what writers of this machine left in some folders when they were killed: temporary files and folders."""
    for folder in folders:
        try:
            names = os.listdir(folder)
        except OSError:  # it was never made, or another process has removed it
            continue
        for name in names:
            match = TEMPORARY.fullmatch(name)
            if match is None or _runs(int(match[1])):
                continue
            left = folder / name
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                with suppress(OSError):  # of another user, in a folder that all may write to
                    left.unlink()


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OverflowError:
        return False
    except OSError as error:
        return isinstance(error, PermissionError)  # of another user
    return True


class _Stream(io.BufferedWriter):
    """A file that hides its descriptor from Pillow, which through one writes half a JPEG on a full disk, silently."""

    def fileno(self) -> NoReturn:
        raise io.UnsupportedOperation("fileno")


def write_image(path: Path, image: Image, format: str, **options: Any) -> None:
    """Write an image of Pillow's to `path`, whole or not at all."""
    with atomic(path) as temporary, _Stream(io.FileIO(temporary, "w")) as stream:
        image.save(stream, format, **options)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, whole or not at all. NaN and infinities are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `rows` (dictionaries with the same keys) to `path` as CSV; the header line is empty if there are none."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
