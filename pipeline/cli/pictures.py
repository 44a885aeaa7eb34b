"""Reading image files of any kind as pixels for a network, and writing the results."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps

from pipeline.data.images import open_image
from pipeline.errors import InputError
from pipeline.files import write_image

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif", "bmp": ".bmp"}
FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP",
}  # fmt: skip
READ = tuple(dict.fromkeys(FORMATS.values()))
LARGEST = {"JPEG": 65500, "WEBP": 16383}  # longest side, pixels

WITH_16_BITS = ("PNG", "TIFF")
WITH_ALPHA = ("PNG", "WEBP", "TIFF")
WITH_GREY = ("PNG", "JPEG", "TIFF", "BMP")
LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")

# EXIF tags that describe the scene. Those that describe the pixels (size, orientation, preview) no longer hold.
KEPT_TAGS = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
)
FOLDERS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
DROPPED_TAGS = (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight, ExifTags.Base.MakerNote)

Pixels = NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True)
class Picture:
    """A decoded image, upright, in grey or RGB.

    Attributes
    ----------
    pixels : uint8, H×W×3 or H×W; or uint16, H×W
    alpha : uint8, H×W, optional
    profile : bytes, optional
        The ICC profile of the pixels; None is sRGB.
    exif : bytes
        The tags that also hold for the upscaled image.
    lossless : bool
        Whether the file stored these pixels exactly.
    notes : tuple of str
        What was lost in reading the file.
    """

    pixels: Pixels
    alpha: NDArray[np.uint8] | None = None
    profile: bytes | None = None
    exif: bytes = b""
    lossless: bool = True
    notes: tuple[str, ...] = ()


def read(path: Path) -> Picture:
    """Decode an image file: its first frame or page.

    Raises
    ------
    InputError
        If it cannot be decoded, or its pixel type is not supported.
    """
    with open_image(path, "save it again or leave it out", READ) as image:
        return _picture(image, path)


def write(picture: Picture, path: Path) -> list[str]:
    """Write an image, atomically, in the format of the path's suffix.

    JPEG has quality 95 and no chroma subsampling; WebP is lossless if the source was lossless, else of quality 95.

    Returns
    -------
    list of str
        What the format cannot hold.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    format, pixels, alpha, profile = FORMATS[path.suffix.lower()], picture.pixels, picture.alpha, picture.profile
    notes = []
    if pixels.dtype == np.uint16 and format not in WITH_16_BITS:
        notes.append(f"{format} cannot hold 16 bits; written with 8")
        pixels = _with_8_bits(pixels)
    if alpha is not None and format not in WITH_ALPHA:
        notes.append(f"{format} cannot hold transparency; composited on white")
        pixels, alpha = _on_white(pixels, alpha), None
    if profile is not None and (format == "BMP" or (_space(profile) == "GRAY" and format not in WITH_GREY)):
        notes.append(f"{format} cannot hold the colour profile; left out")
        profile = None
    if picture.exif and format == "BMP":
        notes.append(f"{format} cannot hold EXIF data; left out")
    image = Image.fromarray(pixels)
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    options: dict[str, Any] = {
        "PNG": {},
        "JPEG": {"quality": 95, "subsampling": 0},
        "WEBP": {"lossless": True, "exact": True} if picture.lossless else {"quality": 95},
        # Pillow compresses TIFF by libtiff, which cannot hold EXIF's folders.
        "TIFF": {} if _has_folders(picture.exif) else {"compression": "tiff_adobe_deflate"},
        "BMP": {},
    }[format]
    if format != "BMP":
        options |= {"icc_profile": profile} | ({"exif": picture.exif} if picture.exif else {})
    try:
        write_image(path, image, format, **options)
    except (OSError, ValueError, RuntimeError, struct.error) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be written ({reason}); choose another folder or format") from error
    return notes


def check_format(path: Path, height: int, width: int) -> None:
    """Check that the path has the suffix of a known format that can hold an image of this size.

    Raises
    ------
    InputError
        If not.
    """
    format = FORMATS.get(path.suffix.lower())
    if format is None:
        raise InputError(f"{path}: unknown image format; choose one with --format, or one of {', '.join(FORMATS)}")
    if max(height, width) > LARGEST.get(format, max(height, width)):
        raise InputError(
            f"{path}: {height}×{width} pixels exceed the limit of {format}, {LARGEST[format]}; add --format png"
        )


def _picture(image: Image.Image, path: Path) -> Picture:
    stored, frames = str(getattr(image, "tile", "")), getattr(image, "n_frames", 1)
    image.load()  # some tags follow the pixels; loading discards how the pixels were stored
    notes = []
    if frames > 1:
        notes.append(f"has {frames} frames or pages; only the first is used")
    if ";16" in stored and (not image.mode.startswith("I") or image.has_transparency_data):
        notes.append("has 16 bits per channel; read with 8, since only grey without transparency is kept at 16 bits")
    profile, exif = image.info.get("icc_profile"), b""
    lossless = _is_lossless(image, path)
    try:
        exif, image = _exif(image), ImageOps.exif_transpose(image)
    except (SyntaxError, ValueError, TypeError, KeyError, struct.error):
        notes.append("its EXIF data cannot be read; it is left out")
    if image.mode == "CMYK":
        image, profile = _from_cmyk(image, profile), None
    pixels, alpha = _decoded(image, grey="LA;16" in stored)
    return Picture(pixels, alpha, profile, exif, lossless, tuple(notes))


def _decoded(image: Image.Image, grey: bool) -> tuple[Pixels, NDArray[np.uint8] | None]:
    """Return the pixels, and alpha or None; `grey` means that the channels of RGB are equal."""
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
            raise ValueError("its values need more than 16 bits")
        if not image.has_transparency_data:
            return values.astype(np.uint16), None
        opaque = values != image.info["transparency"]  # one grey is transparent; Pillow cannot write it with 16 bits
        return _with_8_bits(values), np.where(opaque, 255, 0).astype(np.uint8)
    if image.mode == "F":
        raise ValueError("its values are floating-point; only 8 and 16 bits are supported")
    base = "L" if grey or image.mode in ("1", "L", "LA", "La") else "RGB"
    if not image.has_transparency_data:
        return np.array(image.convert(base)), None
    values = np.array(image.convert(f"{base}A"))
    return np.ascontiguousarray(values[..., :-1].squeeze(2) if base == "L" else values[..., :-1]), values[..., -1]


def _with_8_bits(pixels: NDArray) -> NDArray[np.uint8]:
    return np.rint(pixels / 257).astype(np.uint8)


def _from_cmyk(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert CMYK to sRGB, by its profile if that is valid."""
    if profile is not None:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


def _on_white(pixels: Pixels, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    share = (alpha / 255).reshape(*alpha.shape, *(1,) * (pixels.ndim - 2))
    return np.rint(pixels * share + 255 * (1 - share)).astype(np.uint8)


def _space(profile: bytes) -> str:
    """Read the colour space of an ICC profile from its header."""
    return profile[16:20].decode("latin-1").strip()


def _exif(image: Image.Image) -> bytes:
    old, new = image.getexif(), Image.Exif()
    for tag in KEPT_TAGS:
        if tag in old:
            new[tag] = old[tag]
    for folder in FOLDERS:
        kept = {tag: value for tag, value in old.get_ifd(folder).items() if tag not in DROPPED_TAGS}
        if kept:
            new.get_ifd(folder).update(kept)
            new[folder] = kept
    return new.tobytes() if len(new) else b""


def _has_folders(exif: bytes) -> bool:
    tags = Image.Exif()
    tags.load(exif)
    return any(folder in tags for folder in FOLDERS)


def _is_lossless(image: Image.Image, path: Path) -> bool:
    if image.format == "WEBP":
        return _is_lossless_webp(path.read_bytes())
    return image.format not in ("JPEG", "MPO") and image.info.get("compression") not in LOSSY_TIFF


def _is_lossless_webp(file: bytes) -> bool:
    """Whether the first image, or the first frame, of a WebP file is lossless."""
    at = 12  # after the header come chunks: name, length, body padded to even length
    while at + 8 <= len(file):
        name, length = struct.unpack_from("<4sI", file, at)
        if name == b"ANMF":  # a frame: a header of sixteen bytes, then chunks
            at += 8 + 16
        elif name in (b"VP8L", b"VP8 "):
            return name == b"VP8L"
        else:
            at += 8 + length + length % 2
    return False
