"""Which images the arguments of `binsr upscale` stand for, and where each result goes."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli.pictures import FORMATS, SUFFIXES
from pipeline.errors import InputError


@dataclass(frozen=True)
class Job:
    """One image to read and one to write."""

    input: Path
    output: Path


def jobs_of(arguments: Sequence[str], out: Path, format: str | None = None) -> list[Job]:
    """Find the images and say where their results go.

    Parameters
    ----------
    arguments : sequence of str
        Image files, folders (with all below them; hidden files and what lies in `out` left out), patterns.
    out : Path
        The result of the one image if it has an image's suffix, else the folder of results. For one image, what has
        another suffix has to exist.
    format : str, optional
        One of `pipeline.cli.pictures.SUFFIXES`, for results of another format than the images.

    Raises
    ------
    InputError
        If an argument names no image, `out` has the suffix of an unknown format, two results would be one file, or a
        result an image that is read.
    """
    found = [pair for argument in arguments for pair in _found(argument, out)]
    one = len(found) == 1 and not Path(arguments[0]).is_dir()
    if out.suffix.lower() in FORMATS and not out.is_dir():
        if not one:
            raise InputError(f"{out}: names one image, and the input is a folder or several; name a folder")
        if format is not None and FORMATS[out.suffix.lower()] != FORMATS[SUFFIXES[format]]:
            raise InputError(f"--format: {format}, but {out} is another; leave one of them out")
        return _checked([Job(found[0][0], out)])
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; name a folder, or an image ({', '.join(FORMATS)})")
    if one and out.suffix and not out.exists():  # result.gif is hardly meant to be a folder
        known = ", ".join(FORMATS)
        raise InputError(f"{out}: of no known format ({known}); name one of these, or a folder that exists")
    return _checked([Job(path, out / _renamed(name, format)) for path, name in found])


def _found(argument: str, out: Path) -> list[tuple[Path, Path]]:
    """The images of one argument, each with its name below the folder of results."""
    path = Path(argument)
    if path.is_dir():
        found = [(path / name, name) for name in images_below(path, out)]
        if not found:
            raise InputError(f"{argument}: no image in this folder ({', '.join(FORMATS)}); name another")
        return found
    if path.exists():
        return [(path, Path(path.name))]
    if not glob.has_magic(argument):
        raise InputError(f"{argument}: no such file or folder; check the path")
    matches = [Path(match) for match in sorted(glob.glob(argument, recursive=True))]
    found = [(match, Path(match.name)) for match in matches if match.suffix.lower() in FORMATS and match.is_file()]
    if not found:
        raise InputError(f"{argument}: no image matches this pattern ({', '.join(FORMATS)}); check the pattern")
    return found


def images_below(folder: Path, without: Path | None = None) -> list[Path]:
    """The images below a folder by their suffixes, relative to it, but for hidden ones and those below `without`."""
    left_out = without.resolve() if without is not None and without.resolve() != folder.resolve() else None
    names = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if hidden or path.suffix.lower() not in FORMATS or not path.is_file():
            continue
        if left_out is None or not path.resolve().is_relative_to(left_out):
            names.append(name)
    return sorted(names)


def _renamed(name: Path, format: str | None) -> Path:
    if format is None or FORMATS.get(name.suffix.lower()) == FORMATS[SUFFIXES[format]]:
        return name
    return name.with_suffix(SUFFIXES[format])


def _checked(jobs: Sequence[Job]) -> list[Job]:
    """The jobs, each once, unless a result would replace an image that is read or another result."""
    inputs = {job.input.resolve() for job in jobs}
    by_output: dict[Path, Job] = {}
    for job in jobs:
        target = job.output.resolve()
        if target in inputs:
            raise InputError(f"{job.output}: is read and would be written; name another place with -o")
        before = by_output.setdefault(target, job)
        if before.input.resolve() != job.input.resolve():
            both = f"{before.input} and {job.input}"
            raise InputError(f"{both}: both would be written to {job.output}; upscale them into different folders")
    return list(by_output.values())
