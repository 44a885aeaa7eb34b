"""Every way in which a packed network can be run on an image."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import torch

from pipeline.allocator import keep_freed_memory
from pipeline.engine import Engine
from pipeline.engine.runner import MODES
from pipeline.evaluation import Image
from pipeline.inference import channels_last, upscale
from pipeline.packed import read
from pipeline.packing import load


def upscalers(path: Path, modes: Collection[str] = MODES) -> dict[str, Callable[[Image], Image]]:
    """Give a packed network's backends: ``torch`` (on a GPU where there is one), and modes of the engine.

    A float network has ``engine_float32`` alone; a binary one has those of `modes`, by default all of
    `pipeline.engine.runner.MODES`.
    """
    keep_freed_memory()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = channels_last(load(path).to(device))
    backends: dict[str, Callable[[Image], Image]] = {"torch": lambda image: upscale(module, image)}
    binary = bool(read(path).binary)
    for name, arguments in MODES.items():
        if name in modes and (binary or name == "engine_float32"):
            backends[name] = Engine.load(path, **arguments).upscale
    return backends
