"""Calibration: the ranges of a network's activations, for running it with 8, 6 or 1 bits."""

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
from pipeline.networks import NETWORKS
from pipeline.packed import PackedNetwork, read
from pipeline.upscaling import upscale_image

Ranges = dict[str, Any]

CLEAR_GAIN = 0.9  # a narrower range is kept if its loss is at most this share of the widest range's
SMALLEST_RANGE = 1e-6  # for a layer whose input is all zero, which any non-empty range represents


def calibrate(
    network: str | Path | PackedNetwork,
    images: Sequence[NDArray[np.uint8]],
    percentiles: Sequence[float] = (100.0,),
    exact_layers: int | None = None,
) -> dict[str, Ranges]:
    """Measure the range of each layer's input, with the best percentile for each bit width.

    Parameters
    ----------
    network : path or PackedNetwork
    images : sequence of uint8, shape (h, w, 3) or (h, w)
        LR images that are representative of the input.
    percentiles : sequence of float
        Candidates, see `measure_ranges`; 100 is from minimum to maximum. Ranges are measured on every other image, and
        outputs on the rest are compared with those for float32 activations, so that clipping shows. The percentile
        with the smallest mean squared error is kept; the widest range unless another is clearly better.
    exact_layers : int, optional
        How many binary layers keep float32 inputs; by default see `pipeline.networks.Facts.exact_layers`.

    Returns
    -------
    dict
        "int8", "int6" and "int1": the range of each binary layer's input as [low, high]; for int1, minus and plus the
        mean absolute value; for int8 and int6 None for the first `exact_layers`. "float_layers": see
        `measure_channels`. `pipeline.packing.save` takes it as ``metadata["activations"]``.

    Raises
    ------
    InputError
        If there are no images or no percentiles, one of these is out of range, or the network cannot be read.
    """
    if not images:
        raise InputError("images: none given; calibration needs at least one")
    packed = network if isinstance(network, PackedNetwork) else read(network)
    architecture = Architecture.of(packed)
    inputs: list[Array] = []
    exact = Engine(packed, "float32")

    def run(x: Array) -> Array:
        inputs.append(x)
        return exact.forward(x)

    for image in images:
        upscale_image(run, image, architecture.model, architecture.scale)
    if exact_layers is None:
        exact_layers = NETWORKS[architecture.model].exact_layers
    return calibrate_inputs(packed, architecture, inputs, percentiles, exact_layers)


def calibrate_inputs(
    packed: PackedNetwork,
    architecture: Architecture,
    inputs: Sequence[Array],
    percentiles: Sequence[float] = (100.0,),
    exact_layers: int = 0,
) -> dict[str, Ranges]:
    """Calibrate any architecture on network inputs: float32 of shape (C, h, w).

    The first `exact_layers` of its binary layers, but at most half of them, keep their inputs in float32.
    """
    if not percentiles:
        raise InputError("percentiles: none given; name at least one, such as 100")
    kinds: tuple[Activations, ...] = ("int8", "int6")
    kept: dict[str, Ranges] = {
        "int1": measure_magnitudes(packed, architecture, inputs),
        FLOAT_LAYERS: measure_channels(packed, architecture, inputs),
    }

    def measured(inputs: Sequence[Array], percentile: float) -> Ranges:
        ranges = measure_ranges(packed, architecture, inputs, percentile)
        return ranges | dict.fromkeys(list(ranges)[: min(exact_layers, len(ranges) // 2)])

    if len(percentiles) == 1 or not packed.binary:
        return {kind: measured(inputs, percentiles[0]) for kind in kinds} | kept
    some, others = inputs[::2], inputs[1::2] or inputs
    candidates = [measured(some, percentile) for percentile in percentiles]
    exact = _outputs(packed, architecture, others, "float32")
    for kind in kinds:
        losses = []
        for ranges in candidates:
            ranged = replace(packed, metadata={"activations": {kind: ranges}})
            outputs = _outputs(ranged, architecture, others, kind)
            losses.append(sum(float(((a - b) ** 2).sum()) for a, b in zip(outputs, exact, strict=True)))
        widest, least = int(np.argmax(percentiles)), int(np.argmin(losses))
        best = least if losses[least] <= CLEAR_GAIN * losses[widest] else widest
        kept[kind] = measured(inputs, percentiles[best])
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
        Network inputs.
    percentile : float
        Above 50, up to 100. For each network input, this share of a layer's activations lies below the upper end of the
        range, and this share above its lower end. The layer's range is the smallest that contains those of all inputs,
        and zero.

    Returns
    -------
    dict of str to [low, high]
    """
    if not 50 < percentile <= 100:
        raise InputError(f"percentile: {percentile} is out of range; choose one above 50, up to 100")
    ranges: Ranges = {}

    def widen(layer: str, values: Array) -> None:
        low, high = (float(v) for v in np.percentile(values, [100 - percentile, percentile]))
        lowest, highest = ranges.get(layer, [0.0, SMALLEST_RANGE])
        ranges[layer] = [min(lowest, low), max(highest, high)]

    _observe(packed, architecture, inputs, widen)
    return {layer: ends for layer, ends in ranges.items() if layer in packed.binary}


def measure_channels(packed: PackedNetwork, architecture: Architecture, inputs: Sequence[Array]) -> Ranges:
    """Measure the range of each input channel of each float layer but the first; see `measure_ranges`.

    Returns
    -------
    dict of str to dict
        ``low`` and ``high``: one value per channel, to four digits.
    """
    by_layer: dict[str, tuple[Array, Array]] = {}

    def widen(layer: str, values: Array) -> None:
        low, high = by_layer.get(layer, (np.zeros(len(values), np.float32),) * 2)
        by_layer[layer] = np.minimum(low, values.min(axis=(1, 2))), np.maximum(high, values.max(axis=(1, 2)))

    _observe(packed, architecture, inputs, widen)
    return {
        layer: {
            end: [float(f"{value:.4g}") for value in values] for end, values in zip(("low", "high"), ends, strict=True)
        }
        for layer, ends in list(by_layer.items())[1:]
        if layer not in packed.binary
    }


def measure_magnitudes(packed: PackedNetwork, architecture: Architecture, inputs: Sequence[Array]) -> Ranges:
    """Measure minus and plus the mean absolute value of each binary layer's input; see `measure_ranges`."""
    sums: dict[str, list[float]] = {}

    def add(layer: str, values: Array) -> None:
        total = sums.setdefault(layer, [0.0, 0.0])
        total[0] += float(np.abs(values).sum(dtype=np.float64))
        total[1] += values.size

    _observe(packed, architecture, inputs, add)
    means = {layer: max(total / count, SMALLEST_RANGE) for layer, (total, count) in sums.items()}
    return {layer: [-mean, mean] for layer, mean in means.items() if layer in packed.binary}


def _outputs(
    packed: PackedNetwork, architecture: Architecture, inputs: Sequence[Array], activations: Activations
) -> list[Array]:
    engine = Engine(packed, activations, architecture=architecture)
    return [engine.forward(x) for x in inputs]


def _observe(
    packed: PackedNetwork, architecture: Architecture, inputs: Sequence[Array], observe: Callable[[str, Array], None]
) -> None:
    """Run the network with float32 activations and pass each layer's input to `observe`."""
    ops = _ObservedOps(layers_of(packed, architecture), observe)
    for x in inputs:
        ops.workspace.clear()  # buffers of another size are of no further use
        architecture.forward(ops, x)


class _ObservedOps(EngineOps):
    """The engine's operation with float32 activations; each layer's input is passed to `observe` first."""

    def __init__(self, layers: Mapping[str, Layer], observe: Callable[[str, Array], None]) -> None:
        super().__init__(layers, {})
        self.observe = observe

    def conv(self, layer: str, x: Any, **arguments: Any) -> Any:
        self.observe(layer, x if isinstance(x, np.ndarray) else x.inside)
        return super().conv(layer, x, **arguments)
