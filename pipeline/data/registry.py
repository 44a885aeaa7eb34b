"""The registry of data sets, `registry.json`: their files with sizes and hashes, and where to fetch them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.errors import InputError


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: its name (with "/" for folders), its size in bytes and its SHA-256 in hexadecimal."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes
    ----------
    name : str
    folder : str or None
        Its folder in a mirror; None if mirrors do not apply.
    addresses : tuple of str
        Templates with `{file}` for the file name, tried in order: http(s), or `package://<package>/<path>` for a
        file inside an installed Python package.
    images : int
        Number of images in the set; 0 if it is of something else, such as trained weights.
    smallest_side : int or None
        The least height or width of its images, pixels; None if nobody has measured it.
    files : tuple of RemoteFile
        The images themselves, or one zip archive of them.
    """

    name: str
    folder: str | None
    addresses: Sequence[str]
    images: int
    smallest_side: int | None
    files: Sequence[RemoteFile]

    @property
    def is_archive(self) -> bool:
        """Whether the images are in one zip archive."""
        return self.files[0].name.endswith(".zip")


@cache
def registry() -> dict[str, Dataset]:
    """Read the registry: every known data set by name."""
    text = Path(__file__).with_name("registry.json").read_text(encoding="utf-8")
    return {
        name: Dataset(name, **entry | {"files": [RemoteFile(**file) for file in entry["files"]]})
        for name, entry in json.loads(text).items()
    }


def dataset(name: str) -> Dataset:
    """Return the data set of this name; an `InputError` lists the known names."""
    if name not in registry():
        raise InputError(f"{name}: unknown data set; choose one of {', '.join(registry())}")
    return registry()[name]
