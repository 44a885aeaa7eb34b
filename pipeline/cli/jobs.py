"""The jobs of `binsr upscale`: which images its arguments name, and where each result goes."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli.pictures import FORMATS, SUFFIXES
from pipeline.errors import InputError


@dataclass(frozen=True)
class Job:
    """An image to read and the image to write."""

    input: Path
    output: Path


def jobs_of(arguments: Sequence[str], out: Path, format: str | None = None) -> list[Job]:
    """Find the images and their output paths.

    Parameters
    ----------
    arguments : sequence of str
        Image files, folders (with their subfolders, without hidden files and those in `out`), patterns.
    out : Path
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
    one = len(images) == 1 and not Path(arguments[0]).is_dir()
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


def _images(argument: str, out: Path) -> list[tuple[Path, Path]]:
    """Find the images of one argument, each with its path below the output folder."""
    path = Path(argument)
    if path.is_dir():
        images = [(path / name, name) for name in images_below(path, out)]
        if not images:
            raise InputError(f"{argument}: has no images ({', '.join(FORMATS)}); give another folder")
        return images
    if path.exists():
        return [(path, Path(path.name))]
    if not glob.has_magic(argument):
        raise InputError(f"{argument}: no such file or folder; check the path")
    matches = [Path(match) for match in sorted(glob.glob(argument, recursive=True))]
    images = [(match, Path(match.name)) for match in matches if match.suffix.lower() in FORMATS and match.is_file()]
    if not images:
        raise InputError(f"{argument}: matches no image ({', '.join(FORMATS)}); check the pattern")
    return images


def images_below(folder: Path, without: Path | None = None) -> list[Path]:
    """List the images below a folder, relative to it, without hidden ones and those below `without`."""
    excluded = without.resolve() if without is not None and without.resolve() != folder.resolve() else None
    names = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if hidden or path.suffix.lower() not in FORMATS or not path.is_file():
            continue
        if excluded is None or not path.resolve().is_relative_to(excluded):
            names.append(name)
    return sorted(names)


def _renamed(name: Path, format: str | None) -> Path:
    if format is None or FORMATS.get(name.suffix.lower()) == FORMATS[SUFFIXES[format]]:
        return name
    return name.with_suffix(SUFFIXES[format])


def _checked(jobs: Sequence[Job]) -> list[Job]:
    """Drop repeated jobs, and refuse those whose output would replace an input or another output."""
    inputs = {job.input.resolve() for job in jobs}
    by_output: dict[Path, Job] = {}
    for job in jobs:
        target = job.output.resolve()
        if target in inputs:
            raise InputError(f"{job.output}: would replace an input; choose another output with -o")
        other = by_output.setdefault(target, job)
        if other.input.resolve() != job.input.resolve():
            both = f"{other.input} and {job.input}"
            raise InputError(f"{both}: both would be written to {job.output}; choose a different folder for each")
    return list(by_output.values())
