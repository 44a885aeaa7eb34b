"""The backends that run a packed network on an image."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import torch

from pipeline.allocator import give_back_freed_memory, keep_freed_memory
from pipeline.engine import Engine
from pipeline.engine.modes import MODES, modes_here
from pipeline.evaluation.protocol import Image
from pipeline.inference import channels_last, exact_float32, upscale
from pipeline.packed import read
from pipeline.packing import unpack


def upscalers(path: Path, modes: Collection[str] = MODES) -> dict[str, Callable[[Image], Image]]:
    """Return the backends of a packed network by name: ``torch`` (on a GPU if there is one), and modes of the engine.

    A binary network has the engine modes in `modes`, by default all of `pipeline.engine.modes.MODES`, that this
    processor can run; a float network has only ``engine_float32``, if it is among them.
    """
    keep_freed_memory()
    exact_float32()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    packed = read(path)
    module = channels_last(unpack(packed).to(device))

    def by_torch(image: Image) -> Image:
        try:
            return upscale(module, image)
        finally:
            give_back_freed_memory()

    backends: dict[str, Callable[[Image], Image]] = {"torch": by_torch}
    for name in modes_here():
        if name in modes and (packed.binary or name == "engine_float32"):
            backends[name] = Engine(packed, **MODES[name]).upscale
    return backends
