"""A disk that becomes full or read-only: refused in one line that names the file, and complete once it can be written.

The disk is a file system in memory, which only root can mount.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import yaml
from PIL import Image

from pipeline.profiles import compose
from tests.conftest import ROOT
from tests.engine.random_networks import save_random
from tests.reporting.synthetic_run import make_params, write_run
from tests.small import picture, run_here, write_pictures, write_sets

NOT_TRIED = "not tried: only root can mount a disk"
SIZE = 64 * 2**20  # bytes of the disk
PAGE = 4096  # bytes; the room that a file takes is a multiple of it
NETWORK = ["--model", "edsr", "--scale", "2", "--weights", "binary"]
SETS = ("embedded-train", "embedded-valid", "embedded-test")
TIMES = {"seconds", "cpu_seconds", "images_per_second"}
FULL = r"error: [\w./-]+: the disk is full \(No space left on device\); make room, and run the same command again"
READ_ONLY = r"error: [\w./-]+: cannot be written \(Read-only file system\); .+"


def _images(folder: Path) -> None:
    save_random(folder / "network.safetensors", "srresnet", 2, blocks=1, channels=8)
    (folder / "in").mkdir()
    for number, suffix in enumerate(("jpg", "png", "webp", "tif", "bmp")):
        Image.fromarray(picture(number, 64, 60)).save(folder / f"in/{number}.{suffix}")


def _params(folder: Path) -> None:
    compose("quick", folder / "params.yaml", ROOT / "conf")
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["network"]["edsr"] |= {"blocks": 1, "channels": 8}
    params["train"]["edsr"] |= {"iterations": 6, "batch": 2, "validate_every": 3, "checkpoint_every": 2}
    params["export"]["calibration_images"] = 2
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def _raw(folder: Path) -> None:
    write_pictures(folder / "data/raw/embedded-train", height=48, width=40)


def _sets(folder: Path) -> None:
    _params(folder)
    write_sets(folder, *SETS, height=48, width=40)


def _results(folder: Path) -> None:
    write_run(folder, make_params(["edsr"], [2], ["embedded-test"]))
    shutil.copytree(ROOT / "reports/templates", folder / "reports/templates")


# The programs, and what they find: made by a function, or what another program leaves.
PROGRAMS: dict[str, tuple[list[str], Callable[[Path], None] | str]] = {
    "binsr upscale a.jpg": (["binsr", "upscale", "in/0.jpg", "-o", "a.jpg", "--model=network.safetensors"], _images),
    "binsr upscale": (["binsr", "upscale", "in", "-o", "out", "--model=network.safetensors"], _images),
    "fetch": (["stages.fetch", "--set", "embedded-valid"], _params),
    "prepare": (["stages.prepare", "--set", "embedded-train"], _raw),
    "train": (["stages.train", *NETWORK], _sets),
    "export": (["stages.export", *NETWORK], "train"),
    "evaluate": (["stages.evaluate", "--set", "embedded-test", *NETWORK], "export"),
    "report": (["stages.report"], _results),
}


def _run(folder: Path, name: str) -> tuple[int, list[str]]:
    """Run a program in a folder; return its exit code and the errors that it prints."""
    with patch.dict(os.environ, {"DVC_STAGE": f"dvc.yaml:{name}"}):
        return run_here(folder, *PROGRAMS[name][0])


def _files(folder: Path) -> dict[str, Any]:
    """The files below a folder with their contents, times aside."""
    return {str(path.relative_to(folder)): _content(path) for path in folder.rglob("*") if path.is_file()}


def _content(path: Path) -> Any:
    if path.parent.name in ("train", "seconds"):
        return {key: value for key, value in json.loads(path.read_text()).items() if key not in TIMES}
    return path.read_bytes()


def _differing(there: dict[str, Any], whole: dict[str, Any]) -> list[str]:
    return sorted(path for path in there.keys() | whole.keys() if there.get(path) != whole.get(path))


@cache
def _undisturbed(root: Path, name: str) -> tuple[Path, Path]:
    """Return the folder that a program finds, and what it makes of it."""
    found, done = root / f"{name} found", root / f"{name} done"
    before = PROGRAMS[name][1]
    if isinstance(before, str):
        shutil.copytree(_undisturbed(root, before)[1], found)
    else:
        found.mkdir()
        before(found)
    shutil.copytree(found, done)
    assert _run(done, name) == (0, [])
    return found, done


@contextmanager
def _disk(folder: Path) -> Iterator[bool]:
    """Mount a disk; whether it could be mounted."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(["mount", *options], capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:  # lazily: prepared sets that were read are still mapped
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _attempt(seed: int, folder: Path, unwritable: Callable[..., Any], expected_error: str) -> str:
    rng = np.random.default_rng(seed)
    name = list(PROGRAMS)[seed % len(PROGRAMS)]
    disk = folder / "disk"
    with _disk(disk) as mounted:
        if not mounted:
            return NOT_TRIED
        found, done = _undisturbed(folder.parent, name)
        shutil.copytree(found, disk, dirs_exist_ok=True)
        before, whole = _files(found), _files(done)
        with unwritable(disk, before, whole, rng):
            code, errors = _run(disk, name)
        there = _files(disk)
        if code == 0:
            assert _differing(there, whole) == [], name
            return "there was room enough"
        assert code == 2 and all(re.fullmatch(expected_error, error) for error in errors), (name, errors)
        assert len(errors) == 1 or (errors and name == "binsr upscale"), (name, errors)
        left = {path for path in there if not path.startswith(("checkpoints/", "data/downloads/"))}  # to go on from
        assert left.isdisjoint(_differing(there, whole)), (name, left)
        code, errors = _run(disk, name)
        assert (code, errors) == (0, []), (name, errors)
        assert _differing(_files(disk), whole) == [], name
    return "refused in one line for each file; the next call completed it"


@contextmanager
def _full(disk: Path, before: dict[str, Any], whole: dict[str, Any], rng: np.random.Generator) -> Iterator[None]:
    """Leave a part of the room that a program needs."""
    needed = sum(-(-len(content) // PAGE) for path, content in whole.items() if path not in before)
    room, filler = int(rng.integers(needed + 4)) * PAGE, disk.parent / "disk/.filler"
    state = os.statvfs(disk)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, state.f_bavail * state.f_frsize - room)
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def _read_only(disk: Path, *_: Any) -> Iterator[None]:
    for option in ("ro", "rw"):
        subprocess.run(["mount", "-o", f"remount,{option}", str(disk)], check=True)
        if option == "ro":
            yield


def attempt_full(seed: int, folder: Path) -> str:
    return _attempt(seed, folder, _full, FULL)


def attempt_read_only(seed: int, folder: Path) -> str:
    return _attempt(seed, folder, _read_only, READ_ONLY)
