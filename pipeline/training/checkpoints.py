"""Checkpoints of trainings: folders of small safetensors files, without pickle.

``state.json`` is written last, names the files of its checkpoint and holds everything but the tensors. So a folder
holds one complete checkpoint at any moment, even if its writer is killed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from pipeline.errors import InputError
from pipeline.files import atomic, write_json

STATE = "state.json"
PROGRESS = "progress.json"  # for `pipeline.zoo.status`; not part of the checkpoint
FILE_BYTES = 15 * 2**20  # largest size of a file; a larger tensor has a file of its own


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Replace the folder's checkpoint.

    Parameters
    ----------
    folder : Path
    tensors : mapping of str to Tensor
    state : mapping
        Values that JSON can hold.
    """
    previous = _state(folder)
    # The prefixes alternate, so that the previous files are not overwritten.
    prefix = "b" if previous is not None and previous["files"][0].startswith("a") else "a"
    names: list[str] = []
    for number, part in enumerate(_parts(tensors)):
        names.append(f"{prefix}-{number}.safetensors")
        with atomic(folder / names[-1]) as temporary:
            temporary.write_bytes(save(part))
    write_json(folder / STATE, {"files": names, "state": dict(state)})
    for path in folder.glob("*.safetensors"):
        if path.name not in names:
            path.unlink()


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the tensors and the state of the folder's checkpoint, or None if there is none.

    Raises
    ------
    InputError
        If the checkpoint cannot be read.
    """
    try:
        contents = _state(folder)
        if contents is None:
            return None
        tensors: dict[str, Tensor] = {}
        for name in contents["files"]:
            tensors |= load_file(folder / name)
        return tensors, contents["state"]
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise InputError(f"{folder}: not a readable checkpoint; delete it to start over") from error


def delete_checkpoint(folder: Path) -> None:
    """Delete the folder, its state first: without the state there is no checkpoint."""
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
