"""Packed files that were damaged or that lie: PyTorch and the engine refuse the same ones and compute the same."""

from __future__ import annotations

import json
import struct
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load, save

from pipeline import packing
from pipeline.engine import Engine
from pipeline.engine.calibration import calibrate
from pipeline.errors import InputError
from pipeline.packed import read
from tests.engine.random_networks import save_random
from tests.small import picture

SIZES: dict[str, dict[str, Any]] = {
    "srresnet": {"blocks": 1, "channels": 8},
    "edsr": {"blocks": 2, "channels": 8, "residual_scale": 0.5},
    "vdsr": {"layers": 4, "channels": 8},
}
VALUES = (
    None, True, 0, -1, 1, 2.0, 10**9, 10**30, 10**400, 0.5, -1e308, float("nan"), float("inf"), "", "2", "edsr", [],
    [0], [0, 1e-44], {}, {"a": 1}, "\x1b[31m\n",
)  # fmt: skip
LARGE = 1e12  # where the order of sums matters


@cache
def _network(folder: Path, model: str) -> bytes:
    path = folder / f"{model}.safetensors"
    save_random(path, model, 2, **SIZES[model])
    ranges = calibrate(path, [picture(0)])
    mode = {"activations": "float32", "float_layers": "float32", "loss_db": 0.0}
    save_random(path, model, 2, metadata={"activations": ranges, "mode": mode}, **SIZES[model])
    return path.read_bytes()


def attempt(seed: int, folder: Path) -> str:
    rng = np.random.default_rng(seed)
    model = str(rng.choice(list(SIZES)))
    change = (_bytes, _cut, _header_value, _header_text, _tensor)[rng.integers(5)]
    path = folder / "network.safetensors"
    path.write_bytes(change(_network(folder.parent, model), rng))
    by_torch, by_engine = _refusal(lambda: packing.load(path)), _refusal(lambda: Engine.load(path))
    for mode in ({"activations": "int8", "float_layers": "int8"}, {"activations": "int6"}):
        _refusal(lambda mode=mode: Engine.load(path, **mode))
    assert (by_torch is None) == (by_engine is None), (by_torch, by_engine)
    if by_torch is not None:
        return "refused by PyTorch and by the engine, in one line"
    return _computed(path)


def _computed(path: Path) -> str:
    channels = 1 if read(path).config["model"] == "vdsr" else 3
    x = np.random.default_rng(0).random((channels, 5, 6), np.float32)
    with torch.no_grad(), np.errstate(all="ignore"):
        expected = packing.load(path)(torch.from_numpy(x)[None])[0].numpy()
    got = Engine.load(path, "float32").forward(x)
    if not np.isfinite(expected).all() or np.abs(expected).max() > LARGE:
        return "accepted; infinite, or so large that float32 sums cannot be compared"
    assert np.abs(got - expected).max() <= 1e-3 * max(1.0, float(np.abs(expected).max()))
    return "accepted; PyTorch and the engine compute the same"


def _refusal(action: Any) -> str | None:
    try:
        action()
    except InputError as error:
        said = str(error)
        assert said.isprintable() and len(said) < 1000
        return said
    return None


def _bytes(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    reach = len(data) if rng.random() < 0.3 else min(len(data), 3000)  # the header, mostly
    for place in rng.integers(reach, size=rng.integers(1, 6)):
        changed[place] = rng.integers(256)
    return bytes(changed)


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(len(data))]


def _parts(data: bytes) -> tuple[dict[str, np.ndarray], str]:
    length = struct.unpack("<Q", data[:8])[0]
    return load(data), json.loads(data[8 : 8 + length])["__metadata__"]["binsr"]


def _header_value(data: bytes, rng: np.random.Generator) -> bytes:
    tensors, text = _parts(data)
    header = at = json.loads(text)
    while True:
        key = str(rng.choice(sorted(at)))
        if not isinstance(at[key], dict) or not at[key] or rng.random() < 0.2:
            break
        at = at[key]
    if rng.random() < 0.2:
        del at[key]
    else:
        at[str(rng.choice([key, "more", "blocks"]))] = VALUES[rng.integers(len(VALUES))]
    return save(tensors, {"binsr": json.dumps(header)})


def _header_text(data: bytes, rng: np.random.Generator) -> bytes:
    tensors, text = _parts(data)
    start, end = sorted(rng.integers(len(text), size=2))
    inserted = ("", text[start:end], "[" * 3000, "9" * 5000, "}", '"', "\\ud800", "null")[rng.integers(8)]
    return save(tensors, {"binsr": text[:start] + inserted + text[end:]})


def _tensor(data: bytes, rng: np.random.Generator) -> bytes:
    tensors, text = _parts(data)
    name = str(rng.choice(sorted(tensors)))
    shape = list(tensors[name].shape)
    kind = rng.integers(5)
    if kind == 0:
        del tensors[name]
    elif kind == 1:
        shape[rng.integers(len(shape))] += rng.integers(-1, 3)
        tensors[name] = np.ones([max(0, side) for side in shape], tensors[name].dtype)
    elif kind == 2:
        types = (np.float16, np.float32, np.float64, np.int8, np.uint8, np.int64, np.bool_)
        tensors[name] = np.nan_to_num(tensors[name]).astype(types[rng.integers(len(types))])
    elif kind == 3:
        value = np.array(tensors[name])
        value.flat[rng.integers(value.size)] = rng.choice([0, 1, 255])
        tensors[name] = value
    else:
        tensors[str(rng.choice(["more", "blocks.9.conv1.weight", "head.weight", "blocks"]))] = tensors[name]
    return save(tensors, {"binsr": text})
