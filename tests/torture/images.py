"""Image files of many kinds that were cut or changed: read as pixels, or refused in one line."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.cli.pictures import read
from pipeline.errors import InputError
from tests.small import picture

KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {  # format, mode, options
    "PNG, RGB": ("PNG", "RGB", {}),
    "PNG, grey": ("PNG", "L", {}),
    "PNG, alpha": ("PNG", "RGBA", {}),
    "PNG, palette": ("PNG", "P", {"transparency": 3}),
    "PNG, 16 bits": ("PNG", "I;16", {}),
    "PNG, 1 bit": ("PNG", "1", {}),
    "JPEG": ("JPEG", "RGB", {"quality": 80}),
    "JPEG, progressive": ("JPEG", "RGB", {"progressive": True}),
    "JPEG, grey": ("JPEG", "L", {}),
    "JPEG, CMYK": ("JPEG", "CMYK", {}),
    "WebP": ("WEBP", "RGB", {}),
    "WebP, lossless": ("WEBP", "RGBA", {"lossless": True}),
    "TIFF": ("TIFF", "RGB", {}),
    "TIFF, LZW": ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    "TIFF, deflate": ("TIFF", "RGBA", {"compression": "tiff_adobe_deflate"}),
    "TIFF, packbits": ("TIFF", "L", {"compression": "packbits"}),
    "TIFF, JPEG": ("TIFF", "RGB", {"compression": "jpeg"}),
    "TIFF, fax": ("TIFF", "1", {"compression": "group4"}),
    "TIFF, 16 bits": ("TIFF", "I;16", {}),
    "TIFF, float": ("TIFF", "F", {}),
    "BMP": ("BMP", "RGB", {}),
    "BMP, palette": ("BMP", "P", {}),
    "GIF, by a wrong name": ("GIF", "P", {}),
}


@cache
def _file(kind: str) -> bytes:
    format, mode, options = KINDS[kind]
    image = Image.fromarray(picture(0, 40, 36))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    data = BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


def attempt(seed: int, folder: Path) -> str:
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(list(KINDS)))
    path = folder / "image.png"  # the content decides
    path.write_bytes(_changed(_file(kind), rng))
    try:
        picture_read = read(path)
    except InputError as error:
        said = str(error)
        assert said.startswith(f"{path}: ") and said.isprintable() and len(said) < 1000
        return "refused in one line"
    pixels = picture_read.pixels
    assert pixels.size and pixels.dtype in (np.uint8, np.uint16) and pixels.ndim in (2, 3)
    return "read"


def _changed(data: bytes, rng: np.random.Generator) -> bytes:
    kind = rng.integers(4)
    if kind == 0:
        return data[: rng.integers(len(data))]
    changed = bytearray(data)
    start, end = sorted(rng.integers(len(data), size=2))
    if kind == 1:  # bits, those of the header above all
        for place in rng.integers(min(len(data), 400 if rng.random() < 0.6 else len(data)), size=rng.integers(1, 20)):
            changed[place] ^= 1 << rng.integers(8)
    elif kind == 2:
        changed[start:end] = bytes(end - start)
    else:
        changed[start:start] = changed[start:end]
    return bytes(changed)
