"""Unpack a zip archive of images, without trusting its members."""

from __future__ import annotations

import json
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from tqdm import tqdm

from pipeline.data.folders import atomic_folder
from pipeline.data.images import IMAGE_SUFFIXES, image_files
from pipeline.errors import InputError
from pipeline.files import write_json

MEMBERS = ".members.json"  # of an unpacked archive: the CRC-32 of each image, from the archive's directory


def unpack(archive: Path, destination: Path, images: int) -> None:
    """Unpack a zip archive of `images` images into the folder `destination`, without its inner folders.

    Every member is checked before the first is written. `destination` is created (or replaced) atomically.

    Raises
    ------
    InputError
        If the archive is broken or cannot be unpacked, has another number of images, or has a member that is
        neither an image nor a folder, has an unsafe path, is a link, or has the same file name as another member.
    """
    try:
        with zipfile.ZipFile(archive) as opened, atomic_folder(destination) as folder:
            members = _checked_members(archive, opened.infolist())
            if len(members) != images:
                raise InputError(f"{archive}: has {len(members)} images instead of {images}; fetch it again")
            for name, member in tqdm(members.items(), desc=f"unpack {archive.name}", disable=None):
                with opened.open(member) as source, (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
            write_json(folder / MEMBERS, {name: member.CRC for name, member in members.items()})
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        remedy = "free disk space, or delete it and fetch it again"
        raise InputError(f"{archive}: cannot be unpacked ({error}); {remedy}") from error


def is_unpacked(folder: Path, images: int) -> bool:
    """Return whether a folder holds all images of an archive, as `unpack` wrote them."""
    try:
        sums = json.loads((folder / MEMBERS).read_text(encoding="utf-8"))
        found = {path.name: zlib.crc32(path.read_bytes()) for path in image_files(folder)}
    except (OSError, ValueError):
        return False
    return len(found) == images and found == sums


def _checked_members(archive: Path, infos: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Return the archive's images by their file name, refusing unsafe members."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = PurePosixPath(info.filename).name
        problem = _problem(info)
        if problem is None and not info.is_dir() and name.lower() in map(str.lower, members):
            problem = "has the same file name as another member"
        if problem is not None:
            raise InputError(f"{archive}: member {info.filename!r} {problem}; nothing was unpacked")
        if not info.is_dir():
            members[name] = info
    return members


def _problem(info: zipfile.ZipInfo) -> str | None:
    """Say why a member is refused; None if it is accepted."""
    path = PurePosixPath(info.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in info.filename:
        return "points outside the folder"
    if PureWindowsPath(info.filename).drive:
        return "names a drive"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a symbolic link"
    if info.flag_bits & 1:
        return "is encrypted"
    if not info.is_dir() and path.suffix.lower() not in IMAGE_SUFFIXES:
        return "is not an image"
    return None
