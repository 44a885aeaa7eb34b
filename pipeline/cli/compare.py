"""`binsr compare`: PSNR and SSIM between images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.cli.jobs import images_below
from pipeline.cli.output import NONE, note, print_error, print_json, print_table
from pipeline.cli.pictures import FORMATS, read
from pipeline.errors import InputError
from pipeline.metrics import psnr, ssim

DIGITS = {"psnr_y": 4, "psnr_rgb": 4, "ssim_y": 5}
SMALLEST_FOR_SSIM = 11


def show_comparison(one: Path, other: Path, border: int, as_json: bool) -> int:
    """Compare two images, or the images of the same name in two folders, and print the scores.

    Returns
    -------
    int
        The exit code: 2 if an image has no counterpart or cannot be compared, else 0.

    Raises
    ------
    InputError
        If an argument is invalid or two single images cannot be compared.
    """
    for path in (one, other):
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; check the path")
        if not (path.is_file() or path.is_dir()):
            raise InputError(f"{path}: is a pipe or a device; give an image or a folder of images")
    if one.is_dir() != other.is_dir():
        raise InputError(f"{one} and {other}: one is a folder and the other is not; give two images or two folders")
    unmatched: list[str] = []
    failed: list[str] = []
    if one.is_dir():
        pairs, unmatched = _matched(one, other)
    else:
        pairs = [("", one, other)]
    records: list[dict[str, Any]] = []
    for name, a, b in pairs:
        try:
            records.append({"name": name, "a": str(a), "b": str(b)} | _scores(a, b, border))
        except InputError as error:
            if not one.is_dir():
                raise
            failed.append(str(error))
    for text in failed:
        print_error(text)
    for text in unmatched:
        print_error(f"{text}: the other folder has no image of this name; add it, or remove this one")
    if not _has_ssim():
        note("SSIM needs scikit-image; run: pip install scikit-image")
    mean = {key: _mean([record[key] for record in records]) for key in DIGITS}
    _show(records, mean, one.is_dir(), border, as_json, {"unmatched": unmatched, "failed": failed})
    return 2 if unmatched or failed else 0


def _matched(one: Path, other: Path) -> tuple[list[tuple[str, Path, Path]], list[str]]:
    """Pair the images of the same name, and list the files without a counterpart.

    Raises
    ------
    InputError
        If two files of a folder have the same name but for the suffix, or the folders have no name in common.
    """
    first, second = _by_name(one), _by_name(other)
    both = first.keys() & second.keys()
    if not both:
        raise InputError(
            f"{one} and {other}: the folders have no image name in common (suffixes do not count); give folders that do"
        )
    single = [str(path) for files in (first, second) for name, path in files.items() if name not in both]
    return [(name, first[name], second[name]) for name in sorted(both)], single


def _by_name(folder: Path) -> dict[str, Path]:
    by_name: dict[str, Path] = {}
    for name in images_below(folder):
        path, key = folder / name, name.with_suffix("").as_posix()
        if key in by_name:
            raise InputError(f"{by_name[key]} and {path}: differ only in the suffix; remove one")
        by_name[key] = path
    if not by_name:
        raise InputError(f"{folder}: has no images ({', '.join(FORMATS)}); give another folder")
    return by_name


def _scores(a: Path, b: Path, border: int) -> dict[str, float | None]:
    """Measure PSNR in dB, infinite for equal images, and SSIM; None for what cannot be measured."""
    first, second = _pixels(a), _pixels(b)
    if first.shape[:2] != second.shape[:2]:
        sizes = " and ".join("×".join(map(str, image.shape[:2])) for image in (first, second))
        raise InputError(f"{a} and {b}: their sizes differ: {sizes} (height×width); give images of the same size")
    if first.ndim != second.ndim:  # compare grey as RGB
        first, second = (np.repeat(i[:, :, None], 3, axis=2) if i.ndim == 2 else i for i in (first, second))
    height, width = (length - 2 * border for length in first.shape[:2])
    if min(height, width) < 1:
        raise InputError(f"--border: {border} leaves nothing of {a}; choose a smaller one")
    measured = min(height, width) >= SMALLEST_FOR_SSIM and _has_ssim()
    return {
        "psnr_y": psnr(first, second, border),
        "psnr_rgb": psnr(first, second, border, "rgb") if first.ndim == 3 else None,
        "ssim_y": ssim(first, second, border) if measured else None,
    }


def _pixels(path: Path) -> NDArray[np.uint8]:
    picture = read(path)
    if picture.pixels.dtype != np.uint8:
        raise InputError(f"{path}: has 16 bits per channel, and PSNR is measured on 8; save it with 8 bits")
    if picture.alpha is not None:
        note(f"{path}: transparency is not compared")
    return picture.pixels.astype(np.uint8, copy=False)


def _has_ssim() -> bool:
    try:
        import skimage.metrics  # noqa: F401  # used by pipeline.metrics
    except ImportError:
        return False
    return True


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _show(
    records: Sequence[dict[str, Any]],
    mean: dict[str, float | None],
    folders: bool,
    border: int,
    as_json: bool,
    missing: dict[str, list[str]],
) -> None:
    if as_json:
        images = [record | _rounded(record) for record in records]
        print_json({"border": border, "images": images, "mean": _rounded(mean)} | missing)
        return
    rows = [[record["name"], *_cells(record)] for record in records]
    if folders:
        rows.append(["mean", *_cells(mean)])
        print_table(["", "PSNR-Y, dB", "PSNR-RGB, dB", "SSIM-Y"], rows)
    else:
        print_table(["PSNR-Y, dB", "PSNR-RGB, dB", "SSIM-Y"], [_cells(records[0])])


def _rounded(scores: dict[str, Any]) -> dict[str, float | None]:
    """Round scores for JSON, which has no infinity: the PSNR of equal images becomes null."""
    return {
        key: round(scores[key], digits) if scores[key] is not None and math.isfinite(scores[key]) else None
        for key, digits in DIGITS.items()
    }


def _cells(scores: dict[str, Any]) -> list[str]:
    def cell(key: str) -> str:
        value = scores[key]
        if value is None:
            return NONE
        return f"{value:.{DIGITS[key]}f}" if math.isfinite(value) else "∞"

    return [cell(key) for key in DIGITS]
