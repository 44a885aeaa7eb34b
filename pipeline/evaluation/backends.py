"""Every way in which a packed network can be run on an image."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import torch

from pipeline.allocator import keep_freed_memory
from pipeline.engine import Engine
from pipeline.engine.runner import MODES
from pipeline.evaluation.protocol import Image
from pipeline.inference import channels_last, upscale
from pipeline.packed import read
from pipeline.packing import unpack


def upscalers(path: Path, modes: Collection[str] = MODES) -> dict[str, Callable[[Image], Image]]:
    """Give a packed network's backends: ``torch`` (on a GPU where there is one), and modes of the engine.

    A float network has ``engine_float32`` alone; a binary one has those of `modes`, by default all of
    `pipeline.engine.runner.MODES`.
    """
    keep_freed_memory()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    packed = read(path)
    module = channels_last(unpack(packed).to(device))
    backends: dict[str, Callable[[Image], Image]] = {"torch": lambda image: upscale(module, image)}
    for name, arguments in MODES.items():
        if name in modes and (packed.binary or name == "engine_float32"):
            backends[name] = Engine(packed, **arguments).upscale
    return backends
