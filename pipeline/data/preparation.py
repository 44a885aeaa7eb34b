"""Make a prepared set from fetched images; `pipeline.data.prepared` describes the format."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.data.folders import atomic_folder
from pipeline.data.images import image_files, read_image
from pipeline.data.prepared import FORMAT, ImageEntry, LREntry, crop_to_multiple
from pipeline.data.resize import imresize
from pipeline.errors import InputError
from pipeline.files import write_json


def prepare(raw_folder: Path, destination: Path, scales: Sequence[int]) -> None:
    """Prepare the images below `raw_folder` into the folder `destination`, whose name becomes the name of the set.

    The same images and scales always give the same bytes. One image is in memory at a time. `destination` is
    created (or replaced) atomically.

    Raises
    ------
    InputError
        If there are no images, or one cannot be decoded, is smaller than the largest scale, or differs from
        another only in its suffix.
    """
    paths = {path.relative_to(raw_folder).with_suffix("").as_posix(): path for path in image_files(raw_folder)}
    if not paths:
        raise InputError(f"{raw_folder}: has no images; run `dvc repro fetch`")
    if len(paths) < len(image_files(raw_folder)):
        raise InputError(f"{raw_folder}: has images that differ only in the suffix; remove all but one")
    with atomic_folder(destination) as folder, ExitStack() as open_files:

        def hashed(name: str) -> _HashedFile:
            return open_files.enter_context(closing(_HashedFile(folder / name)))

        hr_file = hashed("hr.bin")
        lr_files = {scale: hashed(f"x{scale}.bin") for scale in scales}
        images = []
        for name, path in tqdm(sorted(paths.items()), desc=f"prepare {destination.name}", disable=None):
            hr = read_image(path)
            height, width = hr.shape[:2]
            if min(height, width) < max(scales):
                raise InputError(f"{path}: {height}×{width} pixels are too few for ×{max(scales)}; remove it")
            images.append(
                ImageEntry(
                    name=name,
                    height=height,
                    width=width,
                    channels=3 if hr.ndim == 3 else 1,
                    offset=hr_file.append(hr),
                    lr={str(scale): _append_lr(file, hr, scale) for scale, file in lr_files.items()},
                )
            )
        files = [hr_file, *lr_files.values()]
        write_json(
            folder / "index.json",
            {
                "format": FORMAT,
                "set": destination.name,
                "scales": list(scales),
                "images": images,
                "sha256": {file.path.name: file.close() for file in files},
            },
        )


def _append_lr(file: _HashedFile, hr: NDArray, scale: int) -> LREntry:
    lr = imresize(crop_to_multiple(hr, scale), 1 / scale)
    return LREntry(height=lr.shape[0], width=lr.shape[1], offset=file.append(lr))


class _HashedFile:
    """A file of images, hashed while it is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = path.open("wb")
        self._hash = hashlib.sha256()

    def append(self, image: NDArray[np.uint8]) -> int:
        """Append an image and give its offset in bytes."""
        offset = self._file.tell()
        data = image.tobytes()
        self._file.write(data)
        self._hash.update(data)
        return offset

    def close(self) -> str:
        """Close the file and give its SHA-256."""
        self._file.close()
        return self._hash.hexdigest()
