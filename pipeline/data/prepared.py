"""Prepared sets: a data set decoded once into a few memory-mapped files, with its LR images.

A prepared set is a folder. `hr.bin` holds the HR images, uint8, HxWxC row-major, one after the other.
`x<scale>.bin` holds the LR images of a scale: `imresize` of the HR image, which is first cropped from its
top-left corner to a multiple of the scale; the result is rounded. `index.json` has the offset of each image.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Self, TypedDict

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError

FORMAT = 1
REMEDY = "run `dvc repro prepare`"

ImagePair = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # LR and HR


class LREntry(TypedDict):
    """Size of an LR image, and its offset in `x<scale>.bin` in bytes."""

    height: int
    width: int
    offset: int


class ImageEntry(TypedDict):
    """An image in the index: its HR size, its offset in `hr.bin` in bytes, and its LR images by scale."""

    name: str
    height: int
    width: int
    channels: int
    offset: int
    lr: dict[str, LREntry]


def crop_to_multiple(image: NDArray, scale: int) -> NDArray:
    """Crop an image, from its top-left corner, to a multiple of `scale` along both axes (a view)."""
    height, width = image.shape[:2]
    return image[: height - height % scale, : width - width % scale]


class PreparedSet:
    """A prepared set, read through memory maps that are opened on demand.

    Attributes
    ----------
    folder : Path
    name : str
    scales : list of int
    images : list of ImageEntry
        The index, sorted by name.
    sha256 : dict of str to str
        The SHA-256 of each file at preparation.
    """

    def __init__(
        self, folder: Path, name: str, scales: list[int], images: list[ImageEntry], sha256: dict[str, str]
    ) -> None:
        self.folder = folder
        self.name = name
        self.scales = scales
        self.images = images
        self.sha256 = sha256
        self._lr_bytes: dict[int, NDArray[np.uint8]] = {}

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a prepared set.

        Raises
        ------
        InputError
            If a file is missing, broken or truncated.
        """
        path = Path(folder) / "index.json"
        try:
            index = json.loads(path.read_text(encoding="utf-8"))
            if index["format"] != FORMAT:
                raise InputError(f"{path}: format: is {index['format']} instead of {FORMAT}; {REMEDY}")
            opened = cls(Path(folder), index["set"], index["scales"], index["images"], index["sha256"])
            sizes = {"hr.bin": _end(opened.images[-1], opened.images[-1]["channels"])}
            for scale in opened.scales:
                last = opened.images[-1]
                sizes[f"x{scale}.bin"] = _end(last["lr"][str(scale)], last["channels"])
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from error
        except (ValueError, LookupError, TypeError) as error:
            raise InputError(f"{path}: is not the index of a prepared set; {REMEDY}") from error
        for name, size in sizes.items():
            _check_size(path.with_name(name), size)
        return opened

    def __len__(self) -> int:
        return len(self.images)

    @property
    def names(self) -> list[str]:
        """The images' names: their paths in the raw set, without suffix."""
        return [image["name"] for image in self.images]

    def hr(self, i: int, scale: int = 1) -> NDArray[np.uint8]:
        """Return HR image `i`, cropped to a multiple of `scale`: a read-only (H, W) or (H, W, 3) uint8 view."""
        image = self.images[i]
        return crop_to_multiple(_view(self.hr_bytes, image, image["channels"]), scale)

    def lr(self, i: int, scale: int) -> NDArray[np.uint8]:
        """Return the LR image of HR image `i` at `scale`: a read-only (h, w) or (h, w, 3) uint8 view."""
        data = self.lr_bytes(scale)
        return _view(data, self.images[i]["lr"][str(scale)], self.images[i]["channels"])

    def pairs(self, count: int, scales: Iterable[int]) -> list[ImagePair]:
        """Return the first `count` images, or all if there are fewer, at each scale."""
        shown = range(min(count, len(self)))
        return [(self.lr(i, scale), self.hr(i, scale)) for scale in scales for i in shown]

    @cached_property
    def hr_bytes(self) -> NDArray[np.uint8]:
        """The read-only memory map of `hr.bin`."""
        return np.memmap(self.folder / "hr.bin", dtype=np.uint8, mode="r")

    def lr_bytes(self, scale: int) -> NDArray[np.uint8]:
        """Return the read-only memory map of `x<scale>.bin`."""
        if scale not in self.scales:
            raise InputError(f"{self.folder}: ×{scale} is not prepared; add it to matrix.scales and {REMEDY}")
        if scale not in self._lr_bytes:
            self._lr_bytes[scale] = np.memmap(self.folder / f"x{scale}.bin", dtype=np.uint8, mode="r")
        return self._lr_bytes[scale]


def _end(entry: ImageEntry | LREntry, channels: int) -> int:
    """Return the offset of the byte after an image."""
    return entry["offset"] + entry["height"] * entry["width"] * channels


def _view(data: NDArray[np.uint8], entry: ImageEntry | LREntry, channels: int) -> NDArray[np.uint8]:
    shape = (entry["height"], entry["width"], channels)[: 3 if channels > 1 else 2]
    return np.asarray(data)[entry["offset"] : _end(entry, channels)].reshape(shape)


def _check_size(path: Path, size: int) -> None:
    if not path.is_file():
        raise InputError(f"{path}: missing; {REMEDY}")
    if path.stat().st_size != size:
        raise InputError(f"{path}: has {path.stat().st_size} bytes instead of {size}; {REMEDY}")
