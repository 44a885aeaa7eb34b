"""Networks and images of extreme numbers: PyTorch and the engine give the same pixels, and every mode gives some."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.engine import Engine
from pipeline.engine.calibration import calibrate
from pipeline.engine.modes import MODES, modes_here
from pipeline.errors import InputError
from pipeline.inference import upscale
from pipeline.models import build
from pipeline.models.binarize import BinaryConv2d
from pipeline.networks import NETWORKS
from pipeline.packed import read
from pipeline.packing import load, save
from pipeline.runs import SCALES
from pipeline.upscaling import NotFiniteError
from tests.small import small_sizes

Array = NDArray[Any]

PRECISE = 1e3  # of activations: beyond it, sums in another order differ by a level

IMAGES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "black": lambda rng, shape: np.zeros(shape),
    "white": lambda rng, shape: np.full(shape, 255),
    "one colour": lambda rng, shape: np.broadcast_to(rng.integers(256, size=shape[2:]), shape),
    "black and white": lambda rng, shape: 255 * rng.integers(2, size=shape),
    "one white pixel": lambda rng, shape: np.pad(np.full((1, 1, *shape[2:]), 255), _around(shape)),
    "noise": lambda rng, shape: rng.integers(256, size=shape),
}
WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "zero": torch.zeros_like,
    "minus zero": lambda value: -torch.zeros_like(value),
    "equal": lambda value: torch.full_like(value, 0.1),
    "negative": lambda value: -value.abs(),
    "tiny": lambda value: value * 1e-30,
    "large": lambda value: value * 1e3,
    "huge": lambda value: value * 1e15,
}


def _around(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(0, shape[0] - 1), (0, shape[1] - 1), *[(0, 0)] * (len(shape) - 2)]


def _image(rng: np.random.Generator) -> Array:
    height, width = rng.choice([1, 2, 3, 7, 16, 33], size=2)
    shape = (height, width, 3) if rng.random() < 0.7 else (height, width)
    return np.ascontiguousarray(IMAGES[str(rng.choice(list(IMAGES)))](rng, shape), np.uint8)


def _network(rng: np.random.Generator) -> nn.Module:
    """A network in which the tensors of some kinds are extreme."""
    model, weights = str(rng.choice(list(NETWORKS))), str(rng.choice(["float", "binary", "binary"]))
    sizes = small_sizes(model, blocks=1, layers=3, channels=8, residual_scale=1.0)
    torch.manual_seed(int(rng.integers(2**31)))
    module = build(model, int(rng.choice(SCALES)), weights, **sizes)
    layers = [layer for layer in module.modules() if next(layer.parameters(recurse=False), None) is not None]
    for layer in (layers[i] for i in rng.integers(len(layers), size=rng.integers(4))):
        values = [value for value in [*layer.parameters(recurse=False), *layer.buffers(recurse=False)] if value.ndim]
        value = values[rng.integers(len(values))]
        changed = WEIGHTS[str(rng.choice(list(WEIGHTS)))](value.data)
        value.data = changed.abs() if value is getattr(layer, "running_var", None) else changed
        if isinstance(layer, BinaryConv2d) and rng.random() < 0.3:
            layer.reset_scale()
    return module.eval()


def attempt(seed: int, folder: Path) -> str:
    with warnings.catch_warnings(action="error", category=RuntimeWarning):  # such as of NaN that becomes a level
        return _attempt(seed, folder)


def _attempt(seed: int, folder: Path) -> str:
    rng = np.random.default_rng(seed)
    path = folder / "network.safetensors"
    save(_network(rng), path)
    images = [_image(rng) for _ in range(rng.integers(1, 4))]
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            ranges = calibrate(path, images)
        save(load(path), path, {"activations": ranges})
    except InputError as error:
        assert "finite" in str(error)
        ranges = None
    image = _image(rng)
    if ranges is not None:
        for arguments in _modes(path):
            _upscaled(Engine.load(path, **arguments).upscale, image)
    by_engine = _upscaled(Engine.load(path, "float32").upscale, image)
    by_torch, largest = _by_torch(path, image)
    if not largest < PRECISE:
        return "numbers beyond float32's precision: pixels, or refused in one line"
    assert ranges is not None and by_torch is not None and by_engine is not None
    assert np.abs(by_torch.astype(int) - by_engine).max() <= 1
    return "the same pixels"


def _modes(path: Path) -> list[dict[str, Any]]:
    if not read(path).binary:
        return [{"float_layers": "int8"}]
    return [*(dict(MODES[name]) for name in modes_here()), {"activations": "int1"}]


def _upscaled(run: Callable[[Array], Array], image: Array) -> Array | None:
    """The upscaled image; None where the output is refused since it is not finite."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # until the output is looked at
            result = run(image)
    except NotFiniteError:
        return None
    assert result.dtype == np.uint8
    return result


def _by_torch(path: Path, image: Array) -> tuple[Array | None, float]:
    """What PyTorch gives, and the largest magnitude that a layer gives on the way."""
    module, largest = load(path), [0.0]

    def look(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        largest.append(float(output.abs().max()))

    for layer in module.modules():
        layer.register_forward_hook(look)
    result = _upscaled(lambda image: upscale(module, image), image)
    return result, max(largest, key=lambda value: value if np.isfinite(value) else np.inf)
