"""Find this machine's best blocking parameters and save them: ``python -m pipeline.engine.tune``, about a minute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any, get_args

import numpy as np
from numba import get_num_threads

from pipeline.benchmark.timing import alternate
from pipeline.engine.epilogue import Epilogue
from pipeline.engine.kernels.channel import blocking as channel_blocking
from pipeline.engine.kernels.channel import compiled as channel_kernels
from pipeline.engine.kernels.channel.blocking import Blocking, Kind
from pipeline.engine.kernels.channel.convolutions import Convolution
from pipeline.engine.kernels.channel.images import Images
from pipeline.engine.layers import Layer
from pipeline.engine.output_formats import OutputFormat
from pipeline.engine.quantization import Bfloat16, Quantization, Rounding
from pipeline.engine.steps import Step
from pipeline.engine.workspace import Workspace
from pipeline.errors import InputError

SUMS = (16, 20, 24, 28)
STRIPS = (16, 32, 48, 96)
CHANNELS, FEW_OUTPUTS, SIZE = 64, 3, 120
ROUNDS = 7


def tune() -> dict[Kind, Blocking]:
    """Return the fastest candidate for each kind of kernel, on a layer of 64 channels and 120×120 pixels."""
    rng = np.random.default_rng(0)
    x = rng.random((CHANNELS, SIZE, SIZE), np.float32)
    chosen: dict[Kind, Blocking] = {}
    for kind in kinds():
        sums = [Blocking(count, channel_blocking.DEFAULTS[kind].strip) for count in SUMS]
        best = _fastest(kind, sums, x, rng)
        if best.strip:
            best = _fastest(kind, [replace(best, strip=strip) for strip in STRIPS], x, rng)
        chosen[kind] = best
    return chosen


def kinds() -> list[Kind]:
    """Return the kinds of kernel that run on this processor."""
    return [kind for kind in get_args(Kind) if kind != "bfloat16" or channel_kernels.bfloat16_supported()]


def vectors(kind: Kind) -> int:
    """Return the vectors of sums for each pixel of a microkernel, for 64 outputs; few outputs have one each."""
    return {"few": FEW_OUTPUTS, "table_int8": 2, "bits": 8}.get(kind, 4)


def _fastest(kind: Kind, candidates: list[Blocking], x: np.ndarray, rng: np.random.Generator) -> Blocking:
    runs = {str(number): _ready(layer(kind, candidate, rng), x) for number, candidate in enumerate(candidates)}
    seconds = alternate(runs, ROUNDS)
    return candidates[int(min(runs, key=lambda name: median(seconds[name])))]


def layer(kind: Kind, candidate: Blocking, rng: np.random.Generator) -> Convolution:
    """Return a layer that runs on this kind of kernel with the candidate's parameters."""
    outputs = FEW_OUTPUTS if kind == "few" else CHANNELS
    filters = rng.standard_normal((outputs, CHANNELS, 3, 3)).astype(np.float32)
    one = np.ones(outputs, np.float32)
    binary = kind == "bits" or kind.startswith("table")
    bits = {"int8": 8, "table_int8": 8, "table_int6": 6, "bits": 8}.get(kind)
    rounding: Rounding | None = None if bits is None else Quantization.of(0.0, 1.0, bits)
    if kind == "bfloat16":
        rounding = Bfloat16()
    output_format = OutputFormat(planes=True) if kind == "few" else OutputFormat(rounding=Quantization.of(-1.0, 1.0, 8))
    with channel_blocking.trying(kind, candidate):
        return Convolution(
            Layer(filters > 0 if binary else filters, Epilogue(one, one, one)),
            rounding,
            output_format,
            Workspace(),
            "popcount" if kind == "bits" else "tables",
        )


def _ready(convolution: Convolution, x: np.ndarray) -> Callable[[], Any]:
    """Return a call of the layer on its input in the form in which another layer passes it."""
    before = Step(convolution.workspace)
    images = Images(before)
    activation, before.load = images.from_planes(x.shape, 1)
    if convolution.rounding is not None:
        activation = images.with_levels(activation, convolution.rounding, 1)
    before(x)
    return partial(convolution.prepare(activation), activation)


def main() -> None:
    if not channel_kernels.supported():
        raise InputError("processor: it has no AVX-512 with VBMI and VNNI; the kernels for others need no tuning")
    chosen = tune()
    channel_blocking.keep(chosen)
    print(f"{channel_blocking.path()}, tuned with {get_num_threads()} threads:")
    for kind, value in chosen.items():
        pixels = f"{value.pixels(vectors(kind))} pixels a microkernel"
        print(f"  {kind}: {pixels}" + (f", strips of {value.strip} columns" if value.strip else ""))
