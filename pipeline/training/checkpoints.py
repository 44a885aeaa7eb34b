"""Checkpoints of trainings: folders of safetensors files small enough to travel, and nothing pickled.

``state.json`` comes last, names the files of its checkpoint and holds everything but the tensors; so a folder holds one
whole checkpoint at any moment, whenever its writer is killed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.errors import InputError
from pipeline.files import atomic, write_json

STATE = "state.json"
PROGRESS = "progress.json"  # for those who look on; no part of the checkpoint
FILE_BYTES = 15 * 2**20  # a file is begun when the last has as much; a larger tensor has a file of its own


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Put a checkpoint in the place of the folder's last.

    Parameters
    ----------
    folder : Path
    tensors : mapping of str to Tensor
    state : mapping
        Anything that JSON holds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last = _state(folder)
    turn = "b" if last is not None and last["files"][0].startswith("a") else "a"  # never over the last one's files
    names: list[str] = []
    for number, part in enumerate(_parts(tensors)):
        names.append(f"{turn}-{number}.safetensors")
        with atomic(folder / names[-1]) as temporary:
            save_file(part, temporary)
    write_json(folder / STATE, {"files": names, "state": dict(state)})
    for path in folder.glob("*.safetensors"):
        if path.name not in names:
            path.unlink()


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Give the folder's checkpoint as `save_checkpoint` was given it, or None where there is none.

    Raises
    ------
    InputError
        If the checkpoint cannot be read.
    """
    try:
        held = _state(folder)
        if held is None:
            return None
        tensors: dict[str, Tensor] = {}
        for name in held["files"]:
            tensors |= load_file(folder / name)
        return tensors, held["state"]
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise InputError(f"{folder}: not a readable checkpoint; delete it to start over") from error


def delete_checkpoint(folder: Path) -> None:
    """Remove the folder; what lacks its state is no checkpoint, so that comes first."""
    (folder / STATE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _state(folder: Path) -> dict[str, Any] | None:
    try:
        return json.loads((folder / STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _parts(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in tensors.items():
        if parts[-1] and size + value.nbytes > FILE_BYTES:
            parts.append({})
            size = 0
        parts[-1][name] = value.detach().cpu().contiguous()
        size += value.nbytes
    return parts
