"""The jobs of `binsr upscale`: which images its arguments name, and where each result goes."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli.addresses import Address, Place, place_of
from pipeline.cli.pictures import FORMATS, SUFFIXES
from pipeline.errors import InputError


@dataclass(frozen=True)
class Job:
    """An image to read and the image to write."""

    input: Place
    output: Place


def jobs_of(arguments: Sequence[str], out: Place, format: str | None = None) -> list[Job]:
    """Find the images and their output paths.

    Parameters
    ----------
    arguments : sequence of str
        Image files, folders (with their subfolders, without hidden files and those in `out`), patterns; local or at
        addresses such as ``s3://bucket/photos``.
    out : Path or Address
        The output image if there is one input image and `out` has an image suffix; otherwise the output folder. For
        one image, a folder with another suffix must exist.
    format : str, optional
        One of `pipeline.cli.pictures.SUFFIXES`, if the output format differs from the input's.

    Raises
    ------
    InputError
        If an argument names no image, the suffix of `out` is unknown, two images would be written to one file, or an
        output would replace an input.
    """
    images = [pair for argument in arguments for pair in _images(argument, out)]
    one = len(images) == 1 and not place_of(arguments[0]).is_dir()
    if out.suffix.lower() in FORMATS and not out.is_dir():
        if not one:
            raise InputError(f"{out}: is one image, but the input is a folder or several images; name a folder")
        if format is not None and FORMATS[out.suffix.lower()] != FORMATS[SUFFIXES[format]]:
            raise InputError(f"--format: {format} contradicts {out}; leave one of them out")
        return _checked([Job(images[0][0], out)])
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, but not an image; name a folder or an image ({', '.join(FORMATS)})")
    if one and out.suffix and not out.exists():  # result.gif is unlikely to mean a folder
        known = ", ".join(FORMATS)
        raise InputError(f"{out}: unknown image format; choose one of {known}, or name an existing folder")
    return _checked([Job(path, out / _renamed(name, format)) for path, name in images])


def _images(argument: str, out: Place) -> list[tuple[Place, Path]]:
    """Find the images of one argument, each with its path below the output folder."""
    place = place_of(argument)
    if place.is_dir():
        names = images_below(place, out) if isinstance(place, Path) else _images_at(place, out)
        if not names:
            raise InputError(f"{argument}: has no images ({', '.join(FORMATS)}); give another folder")
        return [(place / name, name) for name in names]
    if place.exists():
        if isinstance(place, Path) and not place.is_file():
            raise InputError(f"{argument}: is a pipe or a device, not a file; save the image to a file first")
        return [(place, Path(place.name))]
    if not glob.has_magic(argument):
        raise InputError(f"{argument}: no such file or folder; check the path")
    matches: Sequence[Place]
    if isinstance(place, Path):
        matches = [path for match in sorted(glob.glob(argument, recursive=True)) if (path := Path(match)).is_file()]
    else:
        matches = place.matches()
    images = [(match, Path(match.name)) for match in matches if match.suffix.lower() in FORMATS]
    if not images:
        raise InputError(f"{argument}: matches no image ({', '.join(FORMATS)}); check the pattern")
    return images


def images_below(folder: Path, without: Place | None = None) -> list[Path]:
    """List the images below a folder, relative to it, without hidden ones and those below `without`."""
    root, excluded = _real(folder), _real(without) if isinstance(without, Path) else None
    if excluded == root or (excluded is not None and not excluded.is_relative_to(root)):
        excluded = None
    names = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if not _is_image(name) or not path.is_file():
            continue
        if excluded is None or not _real(path).is_relative_to(excluded):
            names.append(name)
    return sorted(names)


def _images_at(folder: Address, without: Place) -> list[Path]:
    """List the images in a folder at an address, as `images_below` does."""
    root, excluded = (f"{place}".rstrip("/") + "/" for place in (folder, without))
    inside = excluded != root and excluded.startswith(root)
    names = [name for name in folder.below() if _is_image(name)]
    return [name for name in names if not (inside and f"{folder / name}".startswith(excluded))]


def _is_image(name: Path) -> bool:
    return name.suffix.lower() in FORMATS and not any(part.startswith(".") for part in name.parts)


def _renamed(name: Path, format: str | None) -> Path:
    if format is None or FORMATS.get(name.suffix.lower()) == FORMATS[SUFFIXES[format]]:
        return name
    return name.with_suffix(SUFFIXES[format])


def _checked(jobs: Sequence[Job]) -> list[Job]:
    """Drop repeated jobs, and refuse those whose output would replace an input or another output."""
    inputs = {_identity(job.input) for job in jobs}
    by_output: dict[Place, Job] = {}
    for job in jobs:
        target = _identity(job.output)
        if target in inputs:
            raise InputError(f"{job.output}: would replace an input; choose another output with -o")
        other = by_output.setdefault(target, job)
        if _identity(other.input) != _identity(job.input):
            both = f"{other.input} and {job.input}"
            raise InputError(f"{both}: both would be written to {job.output}; choose a different folder for each")
    return list(by_output.values())


def _identity(place: Place) -> Place:
    """Return one value for all names of a local file."""
    return _real(place) if isinstance(place, Path) else place


def _real(path: Path) -> Path:
    """Resolve links; those that lead back to themselves stay."""
    return Path(os.path.realpath(path))
