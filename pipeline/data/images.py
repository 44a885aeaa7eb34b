"""Find and decode image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import InputError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png")


def image_files(folder: Path) -> list[Path]:
    """Give every image file below `folder` (by its suffix), sorted; an empty list if there is no such folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def read_image(path: Path) -> NDArray[np.uint8]:
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
    try:
        with Image.open(path) as image:
            return np.array(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises any of these for broken files
        raise InputError(f"{path}: cannot be decoded as an image ({error}); fetch it again") from error
