"""The ranges of a network's activations, for running it on 8 or 6 bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.layers import Layer, layers_of
from pipeline.engine.networks import Architecture, Array
from pipeline.engine.runner import FLOAT_LAYERS, Activations, Engine, EngineOps
from pipeline.errors import InputError
from pipeline.packed import PackedNetwork, read
from pipeline.upscaling import upscale_image

Ranges = dict[str, Any]

CLEARLY = 0.9  # of the widest range's loss, at most
SMALLEST_RANGE = 1e-6  # for a layer whose input is all zero: any range that is not empty represents it


def calibrate(
    network: str | Path | PackedNetwork, images: Sequence[NDArray[np.uint8]], percentiles: Sequence[float] = (100.0,)
) -> dict[str, Ranges]:
    """Measure the range of each layer's input, and keep for each number of bits the percentile that loses least.

    Parameters
    ----------
    network : path or PackedNetwork
    images : sequence of uint8, shape (h, w, 3) or (h, w)
        LR images like those to come.
    percentiles : sequence of float
        Those to try, see `measure_ranges`; 100 is from minimum to maximum. With ranges from every other image, the one
        is kept whose outputs for the other images have the smallest mean squared difference from those with float32
        activations: what a range cuts off shows on images that it does not come from. The widest is kept unless
        another is clearly better.

    Returns
    -------
    dict
        "int8", "int6" and "int1" to the ranges of binary layers' inputs as [low, high], for signs minus and plus the
        mean absolute value; "float_layers" to the others', see `measure_channels`. It is what `pipeline.packing.save`
        expects as ``metadata["activations"]``.

    Raises
    ------
    InputError
        If there are no images or no percentiles, one of these is out of range, or the network cannot be read.
    """
    if not images:
        raise InputError("images: none to calibrate with; give one or more")
    packed = network if isinstance(network, PackedNetwork) else read(network)
    architecture = Architecture.of(packed)
    inputs: list[Array] = []
    exact = Engine(packed)

    def run(x: Array) -> Array:
        inputs.append(x)
        return exact.forward(x)

    for image in images:
        upscale_image(run, image, architecture.model, architecture.scale)
    return calibrate_inputs(packed, architecture, inputs, percentiles)


def calibrate_inputs(
    packed: PackedNetwork, architecture: Architecture, inputs: Sequence[Array], percentiles: Sequence[float] = (100.0,)
) -> dict[str, Ranges]:
    """Calibrate any architecture on its own inputs: float32 of shape (C, h, w)."""
    if not percentiles:
        raise InputError("percentiles: none to try; give one or more, such as 100")
    kinds: tuple[Activations, ...] = ("int8", "int6")
    kept: dict[str, Ranges] = {
        "int1": measure_magnitudes(packed, architecture, inputs),
        FLOAT_LAYERS: measure_channels(packed, architecture, inputs),
    }
    if len(percentiles) == 1 or not packed.binary:
        return {kind: measure_ranges(packed, architecture, inputs, percentiles[0]) for kind in kinds} | kept
    some, others = inputs[::2], inputs[1::2] or inputs
    candidates = [measure_ranges(packed, architecture, some, percentile) for percentile in percentiles]
    exact = _outputs(packed, architecture, others, "float32")
    for kind in kinds:
        losses = []
        for ranges in candidates:
            ranged = replace(packed, metadata={"activations": {kind: ranges}})
            outputs = _outputs(ranged, architecture, others, kind)
            losses.append(sum(float(((a - b) ** 2).sum()) for a, b in zip(outputs, exact, strict=True)))
        widest, least = int(np.argmax(percentiles)), int(np.argmin(losses))
        best = least if losses[least] <= CLEARLY * losses[widest] else widest
        kept[kind] = measure_ranges(packed, architecture, inputs, percentiles[best])
    return kept


def measure_ranges(
    packed: PackedNetwork, architecture: Architecture, inputs: Sequence[Array], percentile: float = 100.0
) -> Ranges:
    """Measure the range of each binary layer's input, running the network with float32 activations.

    Parameters
    ----------
    packed : PackedNetwork
    architecture : Architecture
    inputs : sequence of float32, shape (C, h, w)
        The network's own.
    percentile : float
        Above 50, up to 100: of each input, so much of a layer's activations lies below the range's end, and so much
        above its beginning. The layer's range is the smallest that holds all inputs' ranges, and zero.

    Returns
    -------
    dict of str to [low, high]
    """
    if not 50 < percentile <= 100:
        raise InputError(f"percentile: {percentile}; choose one above 50, up to 100")
    ranges: Ranges = {}

    def widen(layer: str, values: Array) -> None:
        low, high = (float(v) for v in np.percentile(values, [100 - percentile, percentile]))
        before = ranges.get(layer, [0.0, SMALLEST_RANGE])
        ranges[layer] = [min(before[0], low), max(before[1], high)]

    _watch(packed, architecture, inputs, widen)
    return {layer: found for layer, found in ranges.items() if layer in packed.binary}


def measure_channels(packed: PackedNetwork, architecture: Architecture, inputs: Sequence[Array]) -> Ranges:
    """Measure the largest absolute value of each channel of each float layer's input; see `measure_ranges`.

    Returns
    -------
    dict of str to dict
        ``largest``: a list by channel, to four digits; ``signed``: whether anything is below zero.
    """
    found: dict[str, tuple[Array, bool]] = {}

    def widen(layer: str, values: Array) -> None:
        largest, signed = found.get(layer, (np.zeros(len(values), np.float32), False))
        here = np.abs(values).max(axis=(1, 2))
        found[layer] = (np.maximum(largest, here), signed or bool((values < 0).any()))

    _watch(packed, architecture, inputs, widen)
    return {
        layer: {"largest": [float(f"{value:.4g}") for value in largest], "signed": signed}
        for layer, (largest, signed) in found.items()
        if layer not in packed.binary
    }


def measure_magnitudes(packed: PackedNetwork, architecture: Architecture, inputs: Sequence[Array]) -> Ranges:
    """Measure minus and plus the mean absolute value of each binary layer's input; see `measure_ranges`."""
    sums: dict[str, list[float]] = {}

    def add(layer: str, values: Array) -> None:
        total = sums.setdefault(layer, [0.0, 0.0])
        total[0] += float(np.abs(values).sum(dtype=np.float64))
        total[1] += values.size

    _watch(packed, architecture, inputs, add)
    means = {layer: max(total / count, SMALLEST_RANGE) for layer, (total, count) in sums.items()}
    return {layer: [-mean, mean] for layer, mean in means.items() if layer in packed.binary}


def _outputs(
    packed: PackedNetwork, architecture: Architecture, inputs: Sequence[Array], activations: Activations
) -> list[Array]:
    engine = Engine(packed, activations, architecture=architecture)
    return [engine.forward(x) for x in inputs]


def _watch(
    packed: PackedNetwork, architecture: Architecture, inputs: Sequence[Array], look: Callable[[str, Array], None]
) -> None:
    """Run the network with float32 activations and look at what each layer reads."""
    ops = _WatchedOps(layers_of(packed, architecture), look)
    for x in inputs:
        architecture.forward(ops, x)


class _WatchedOps(EngineOps):
    """The engine's operation with float32 activations, each input looked at."""

    def __init__(self, layers: Mapping[str, Layer], look: Callable[[str, Array], None]) -> None:
        super().__init__(layers, {})
        self.look = look

    def conv(self, layer: str, x: Any, **arguments: Any) -> Any:
        self.look(layer, x if isinstance(x, np.ndarray) else x.inside)
        return super().conv(layer, x, **arguments)
