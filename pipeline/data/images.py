"""Find and decode image files."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import InputError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png")

# Pillow reports broken files as any of these.
BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, EOFError,
    struct.error, Image.DecompressionBombError,
)  # fmt: skip


def image_files(folder: Path) -> list[Path]:
    """Return every image file below `folder` (by its suffix), sorted; an empty list if there is no such folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


@contextmanager
def open_image(path: Path, remedy: str, formats: tuple[str, ...] | None = None) -> Iterator[Image.Image]:
    """Open an image file, of some of Pillow's formats, to decode it.

    Raises
    ------
    InputError
        If it cannot be opened or decoded; it ends with the remedy.
    """
    try:
        # Pillow warns of a large image and of broken tags.
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=formats) as image:
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
