"""Find and decode image files."""

from __future__ import annotations

import os
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import InputError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png")

STDERR = 2  # the file descriptor of standard error

# Pillow reports broken files as any of these.
BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, EOFError,
    struct.error, Image.DecompressionBombError,
)  # fmt: skip


def image_files(folder: Path) -> list[Path]:
    """Return every image file below `folder` (by its suffix), sorted; an empty list if there is no such folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


class _Silence:
    """Discards what libraries print to standard error, as long as any thread is in it."""

    def __init__(self) -> None:
        self._lock, self._inside, self._kept = threading.Lock(), 0, -1

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._kept, nowhere = os.dup(STDERR), os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, STDERR)
                os.close(nowhere)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                os.dup2(self._kept, STDERR)
                os.close(self._kept)


_silence = _Silence()


@contextmanager
def open_image(path: Path, remedy: str, formats: tuple[str, ...] | None = None) -> Iterator[Image.Image]:
    """Open an image file, of some of Pillow's formats, to decode it.

    Raises
    ------
    InputError
        If it cannot be opened or decoded; it ends with the remedy.
    """
    try:
        # Pillow warns of a large image and of broken tags, and the libraries that it uses print lines of their own.
        with (
            warnings.catch_warnings(action="ignore"),
            _silence,
            Image.open(path, formats=formats) as image,
        ):
            yield image
    except BROKEN as error:
        reason = " ".join(str(error).split()).replace(f" '{path}'", "")
        raise InputError(f"{path}: cannot be read as an image ({reason}); {remedy}") from error


def read_image(path: Path, remedy: str = "fetch it again") -> NDArray[np.uint8]:
    """Decode an image file.

    Returns
    -------
    (H, W) or (H, W, 3) uint8 array
        Grey stays grey; any other mode (palette, transparency, CMYK) becomes RGB.

    Raises
    ------
    InputError
        If the file cannot be decoded.
    """
    with open_image(path, remedy) as image:
        return np.array(image if image.mode in ("L", "RGB") else image.convert("RGB"))
