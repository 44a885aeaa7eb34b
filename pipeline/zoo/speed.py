"""Timing published networks on an image, from 8-bit pixels to 8-bit pixels."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.allocator import keep_freed_memory
from pipeline.benchmark.backends import UnavailableError
from pipeline.benchmark.timing import alternate, ratios, summary
from pipeline.engine import Engine
from pipeline.engine.modes import MODES, modes_here
from pipeline.evaluation.protocol import Image
from pipeline.inference import channels_last, upscale
from pipeline.packed import read
from pipeline.packing import load
from pipeline.records import INT8, TORCH, PairTiming
from pipeline.threads import set_threads
from pipeline.zoo.quantized import openvino_int8, quantize

CALIBRATION_SIDE = 16  # of the crop from which OpenVINO's ranges are chosen, in pixels


def times(real: Path, binary: Path, image: Image, threads: int, repeats: int, budget: float) -> PairTiming:
    """Time a float network in PyTorch and OpenVINO int8, and its binary twin in the engine, in turns on one image.

    OpenVINO is left out if it is not installed.

    Parameters
    ----------
    real, binary : Path
        Packed networks.
    image : uint8, H×W×3 or H×W
        The LR image.
    threads : int
    repeats, budget
        See `pipeline.benchmark.timing.alternate`.
    """
    keep_freed_memory()
    set_threads(threads)
    runs: dict[str, Callable[[], Image]] = {TORCH: partial(upscale, channels_last(load(real)), image)}
    with tempfile.TemporaryDirectory() as folder, suppress(UnavailableError):
        module: Any = load(real)
        crop = image[:CALIBRATION_SIDE, :CALIBRATION_SIDE]
        path = quantize(module, [crop], Path(folder))  # the time does not depend on the ranges
        runs[INT8] = partial(openvino_int8(path, module.config["model"], module.config["scale"], threads), image)
    packed = read(binary)
    for name in modes_here():
        runs[name] = partial(Engine(packed, **MODES[name], threads=threads).upscale, image)
    seconds = alternate(runs, repeats, budget=budget)
    return PairTiming(
        lr_size=(image.shape[0], image.shape[1]),
        threads=threads,
        backends={name: summary(values) for name, values in seconds.items()},
        speedup=ratios(seconds, TORCH),
    )
