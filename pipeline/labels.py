"""How models, weights and ways of running a network are called in the report."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from pipeline.networks import NETWORKS

BACKENDS = {
    "bicubic": "bicubic",
    "torch": "PyTorch",
    "torch_channels_last": "PyTorch, channels_last",
    "torch_compile": "PyTorch, compiled",
    "torch_avx2": "PyTorch, restricted to AVX2",
    "onnxruntime_float32": "ONNX Runtime, float32",
    "onnxruntime_int8": "ONNX Runtime, int8",
    "openvino_float32": "OpenVINO, float32",
    "openvino_bfloat16": "OpenVINO, bfloat16",
    "openvino_int8": "OpenVINO, int8",
}

VARIANTS = {
    "imported": "imported",
    "long": "longer training",
    "unscaled": "no filter scale",
    "analytic": "analytic filter scale, the mean of |W|",
    "everywhere": "every convolution binary",
    "twice": "from fresh weights, twice the iterations",
    "warm": "from the float network’s weights",
    "distilled": "from the float network’s weights, with distillation",
}

INSTRUCTION_SETS = {"amx": "AMX", "avx512": "AVX-512", "avx2": "AVX2"}

PIECES = {"layer": "64→64 layer", "wide_layer": "256→256 layer", "body": "residual blocks", "network": "whole network"}

# What stands in a packed file, by the first part of a tensor's name.
PARTS = {"residual blocks": ["blocks"], "upsampling": ["upsample"], "head and tail": ["head", "tail"]}


def model(name: str) -> str:
    """Return the name of a model as its authors write it."""
    return NETWORKS[name].title if name in NETWORKS else name


def backend(name: str) -> str:
    """Return a readable name for a way of running a network."""
    kind, _, settings = name.partition("_")
    if kind == "engine" and settings:  # the engine's settings are many
        described = settings.replace("_", " ").replace(" all", ", float layers int8")
        return f"engine, {described.replace('bfloat16', 'float32, float layers bfloat16')}"
    return BACKENDS.get(name, name)


def short_backend(name: str) -> str:
    """Return a name for a way of running a network that is short enough to stand beside a bar."""
    shorter = {
        "PyTorch, channels_last": "PyTorch c.l.",
        "float32": "f32",
        ", float layers int8": " all",
        ", float layers bfloat16": " bf16",
    }
    text = backend(name)
    for long, short in shorter.items():
        text = text.replace(long, short)
    return text.replace("ONNX Runtime", "ONNX R.").replace(",", "")


def count(number: int, noun: str) -> str:
    """Return a number of things, as `1 thread` or `2 threads`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def byte_size(size: float) -> str:
    """Return a size in decimal units with three significant digits, as `1.23 MB`."""
    for unit, factor in (("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            value = size / factor
            return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"
    return f"{size:.0f} B"


def milliseconds(value: float) -> str:
    """Return a time with three significant digits, as `12.3 ms` or `4.56 s`."""
    if value >= 9999.5:
        return f"{value / 1000:.3g} s"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} ms"


def decibels(value: float, signed: bool = False) -> str:
    """Return a level with two decimals and a true minus sign, as `−0.12 dB`."""
    return f"{number(value, 2, signed)} dB"


def number(value: float, digits: int, signed: bool = False) -> str:
    """Return `value` with `digits` decimals and a true minus sign; never a negative zero."""
    rounded = round(value, digits) + 0.0
    return f"{rounded:{'+' if signed and rounded else ''}.{digits}f}".replace("-", "−")


def percent(share: float) -> str:
    """Return a share as a percentage with one decimal, as `73.9 %`."""
    return f"{number(100 * share, 1)} %"


def limits(measured: Mapping[str, float]) -> dict[str, str]:
    """Return a machine's limits (see `pipeline.benchmark.limits.load_rate`) by readable names."""
    names = {
        "load_gb_per_s": "loads from the first-level cache, GB/s",
        "pixel_table_gmacs_per_s": "tables in that cache, 10⁹ multiply-adds/s",
        **{
            f"table_{k}_gmacs_per_s": f"tables in registers, {k}, 10⁹ multiply-adds/s"
            for k in ("float32", "int8", "int6")
        },
        **{
            f"tiles_{k}_gmacs_per_s": f"matrix products with AMX, {k}, 10⁹ multiply-adds/s" for k in ("float32", "int8")
        },
    }
    return {names.get(name, name): f"{value:,.0f}" for name, value in measured.items()}


def duration(seconds: float) -> str:
    """Return a duration as `45 s`, `3 min 20 s` or `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def listing(names: Sequence[str]) -> str:
    """Return names as a list in a sentence, as `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def span(values: Collection[Any], show: Callable[[Any], str], between: str = " to ") -> str:
    """Return the least and the greatest of some values, as `800 to 2,400`, or the one that both look like."""
    return between.join(dict.fromkeys(show(of(values)) for of in (min, max)))


def variant(name: str) -> str:
    """Return in what a network differs from the one without the variant, as `seed 1`."""
    return f"seed {name.removeprefix('seed')}" if name.startswith("seed") else VARIANTS.get(name, name)


def interval(low: float, high: float) -> str:
    """Return an interval as `0.12 to 0.31 dB`, or that it is not known where it has no ends."""
    return f"{number(low, 2)} to {number(high, 2)} dB" if math.isfinite(high - low) else "not known from one image"


def network(model_name: str, scale: int, variant_name: str = "") -> str:
    """Return a model at a scale, as `SRResNet ×4`, or with its variant as `VDSR ×4, imported`."""
    return f"{model(model_name)} ×{scale}" + (f", {variant(variant_name)}" if variant_name else "")
