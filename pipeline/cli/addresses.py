"""Files that are not on this machine: addresses such as s3://bucket/a.png, by fsspec."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.errors import InputError


@dataclass(frozen=True)
class Address:
    """The address of a file or a folder, with the methods of `Path` that `binsr upscale` needs.

    Each method raises `InputError` if the address cannot be reached.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: Path) -> Address:
        return Address(f"{self.url.rstrip('/')}/{name.as_posix()}")

    @property
    def name(self) -> str:
        """The last part."""
        return PurePosixPath(self.url).name

    @property
    def suffix(self) -> str:
        """The suffix of the name."""
        return PurePosixPath(self.name).suffix

    def exists(self) -> bool:
        """Return whether there is such a file or folder."""
        with self._files() as (files, path):
            return files.exists(path)

    def is_dir(self) -> bool:
        """Return whether it is a folder; where there are none, whether files have it as the beginning of their path."""
        with self._files() as (files, path):
            return files.isdir(path)

    def below(self) -> list[Path]:
        """List the files in a folder and its subfolders, relative to it, in order."""
        with self._files() as (files, path):
            return sorted(Path(PurePosixPath(name).relative_to(path)) for name in files.find(path))

    def matches(self) -> list[Address]:
        """List the files that match it as a pattern, in order."""
        with self._files() as (files, path):
            return [Address(files.unstrip_protocol(name)) for name in sorted(files.glob(path)) if files.isfile(name)]

    def get(self, path: Path) -> None:
        """Copy the file to a local path."""
        with self._files() as (files, source):
            files.get_file(source, str(path))

    def put(self, path: Path) -> None:
        """Write the local file to this address, whole or not at all."""
        with self._files() as (files, target):
            if files.async_impl:  # object stores: they have no folders, and a file appears when its upload is complete
                files.put_file(str(path), target)
                return
            files.makedirs(files._parent(target), exist_ok=True)
            with files.transaction, files.open(target, "wb") as destination, path.open("rb") as source:
                shutil.copyfileobj(source, destination)

    @contextmanager
    def _files(self) -> Iterator[tuple[Any, str]]:
        """Return the file system, and the path in it."""
        try:
            from fsspec.core import url_to_fs

            yield url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            if error.name == "fsspec":
                raise InputError(f"{self}: is an address; to use it, run: pip install fsspec") from error
            raise InputError(f"{self}: {error}") from error
        except MemoryError:
            raise
        except Exception as error:  # each file system has its own kinds
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(
                f"{self}: cannot be used ({reason}); check the address, and access and space there"
            ) from error


Place = Path | Address


def place_of(argument: str) -> Place:
    """Return a local path, also for ``file://``, or an address if the argument has another protocol."""
    protocol, _, path = argument.rpartition("://")
    return Address(argument) if protocol not in ("", "file", "local") else Path(path)


@contextmanager
def local_source(place: Place) -> Iterator[Path]:
    """Yield a path from which to read: a temporary copy of what is not on this machine."""
    if isinstance(place, Path):
        yield place
        return
    with _beside(place) as path:
        place.get(path)
        yield path


@contextmanager
def local_target(place: Place) -> Iterator[Path]:
    """Yield a path to which to write; it is then copied to a place that is not on this machine."""
    if isinstance(place, Path):
        yield place
        return
    with _beside(place) as path:
        yield path
        place.put(path)


@contextmanager
def _beside(address: Address) -> Iterator[Path]:
    """Yield a temporary path of the same name; errors name the address instead."""
    with TemporaryDirectory(prefix="binsr-") as folder:
        path = Path(folder, address.name)
        try:
            yield path
        except InputError as error:
            raise InputError(str(error).replace(str(path), str(address))) from error
