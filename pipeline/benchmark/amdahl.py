"""The time of a network by layer in PyTorch and by kind of layer in the engine, and the speed-up that this allows.

A layer's time runs from the start of its convolution to the start of the next. It includes the normalization,
activation, shuffle and addition that follow, which the engine fuses with the convolution.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.benchmark import engines
from pipeline.benchmark.workloads import Workload
from pipeline.inference import channels_last
from pipeline.records import Amdahl, LayerTime

BEFORE = ""  # the time before the first convolution


def where_time_goes(workload: Workload, x: NDArray[np.float32], threads: int, repeats: int) -> Amdahl:
    """Time the float network layer by layer in PyTorch channels_last, and return the medians."""
    module = channels_last(copy.deepcopy(workload.real))
    convolutions = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d)}
    starts: list[tuple[str, float]] = []
    macs: dict[str, int] = {}
    for name, layer in convolutions.items():
        layer.register_forward_pre_hook(lambda *_, name=name: starts.append((name, time.perf_counter())))
        layer.register_forward_hook(_count(name, macs))
    batch = torch.from_numpy(x)[None].contiguous(memory_format=torch.channels_last)
    seconds: dict[str, list[float]] = {name: [] for name in (BEFORE, *convolutions)}
    torch.set_num_threads(threads)
    with torch.inference_mode():
        module(batch)
        for _ in range(repeats):
            starts[:] = [(BEFORE, time.perf_counter())]
            module(batch)
            ends = [start for _, start in starts[1:]] + [time.perf_counter()]
            for (name, start), end in zip(starts, ends, strict=True):
                seconds[name].append(end - start)
    ms = {name: 1000 * median(values) for name, values in seconds.items()}
    binary = {name for name in convolutions if name in workload.packed.binary}
    total_ms, binary_ms = sum(ms.values()), sum(ms[name] for name in binary)
    return Amdahl(
        layers=[LayerTime(name, name in binary, macs[name], round(ms[name], 3)) for name in convolutions],
        total_ms=round(total_ms, 3),
        binary_ms=round(binary_ms, 3),
        binary_macs=sum(macs[name] for name in binary),
        float_macs=sum(count for name, count in macs.items() if name not in binary),
        ceiling=round(total_ms / (total_ms - binary_ms), 3) if total_ms > binary_ms else None,
    )


def engine_by_kind(
    workload: Workload, x: NDArray[np.float32], name: str, threads: int, repeats: int
) -> dict[str, float]:
    """Time the engine by kind of layer, on the whole image at once, however large it is.

    Returns
    -------
    dict
        Median milliseconds of the ``binary`` and ``float`` convolutions, and of the ``other`` operations.

    Raises
    ------
    UnavailableError
        If the engine cannot run the network in this mode.
    """
    engine = engines.load(name, workload.packed, workload.architecture, threads)
    ops = _Timed(engine.ops, workload.packed.binary)
    engine.ops = ops  # type: ignore[assignment]  # has the same methods
    engine.tile = None  # the parts of a network for tiles would run by operations of their own
    engine.forward(x)
    seconds: dict[str, list[float]] = {"binary": [], "float": [], "other": []}
    for _ in range(repeats):
        ops.seconds = {"binary": 0.0, "float": 0.0}
        start = time.perf_counter()
        engine.forward(x)
        total = time.perf_counter() - start
        for kind, value in {**ops.seconds, "other": total - sum(ops.seconds.values())}.items():
            seconds[kind].append(value)
    return {kind: round(1000 * median(values), 3) for kind, values in seconds.items()}


class _Timed:
    """The engine's operations; adds up the seconds of binary and of float convolutions."""

    def __init__(self, ops: Any, binary: Any) -> None:
        self.ops, self.binary = ops, binary
        self.seconds = {"binary": 0.0, "float": 0.0}

    def conv(self, layer: str, x: Any, **arguments: Any) -> Any:
        start = time.perf_counter()
        out = self.ops.conv(layer, x, **arguments)
        self.seconds["binary" if layer in self.binary else "float"] += time.perf_counter() - start
        return out

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ops, name)


def _count(name: str, macs: dict[str, int]) -> Callable[..., None]:
    def count(layer: nn.Module, _: Any, out: Tensor) -> None:
        weight: Any = layer.weight
        macs[name] = math.prod(out.shape[2:]) * weight.numel()

    return count
