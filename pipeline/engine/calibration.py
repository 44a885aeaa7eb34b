"""Calibration: the ranges of a network's activations, for running it with 8, 6 or 1 bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.layers import Layer, layers_of
from pipeline.engine.networks import Architecture, Array
from pipeline.engine.ops import EngineOps
from pipeline.engine.ranges import FLOAT_LAYERS
from pipeline.engine.runner import Engine
from pipeline.errors import InputError
from pipeline.networks import NETWORKS
from pipeline.packed import PackedNetwork, read
from pipeline.runs import Activations
from pipeline.upscaling import network_input

Ranges = dict[str, Any]

CLEAR_GAIN = 0.9  # a narrower range is kept if its loss is at most this share of the widest range's
SMALLEST_RANGE = 1e-6  # for a layer whose input is all zero, which any non-empty range represents


def calibrate(
    network: str | Path | PackedNetwork,
    images: Sequence[NDArray[np.uint8]],
    percentiles: Sequence[float] = (100.0,),
    exact_layers: Mapping[str, int] | None = None,
) -> dict[str, Ranges]:
    """Measure the range of each layer's input, with the best percentile for each bit width.

    Parameters
    ----------
    network : path or PackedNetwork
    images : sequence of uint8, shape (h, w, 3) or (h, w)
        LR images that are representative of the input.
    percentiles : sequence of float
        Candidates, above 50 and up to 100: for each image, this share of a layer's activations lies below the upper
        end of the range, and this share above its lower end; 100 is from minimum to maximum. Ranges are measured on
        every other image, and outputs on the rest are compared with those for float32 activations, so that clipping
        shows. The percentile with the smallest mean squared error is kept; the widest range unless another is clearly
        better.
    exact_layers : mapping of str to int, optional
        How many binary layers keep float32 inputs, for "int8" and "int6"; none if absent. By default see
        `pipeline.networks.Facts.exact_layers`.

    Returns
    -------
    dict
        "int8", "int6" and "int1": the range of each binary layer's input as [low, high]; for int1, minus and plus the
        mean absolute value; for int8 and int6 None for the first `exact_layers`. "float_layers": for
        each but the first, ``low`` and ``high`` with a value per input channel.
        `pipeline.packing.save` takes it as ``metadata["activations"]``.

    Raises
    ------
    InputError
        If there are no images or no percentiles, one of these is out of range, or the network cannot be read.
    """
    if not images:
        raise InputError("images: none given; calibration needs at least one")
    packed = network if isinstance(network, PackedNetwork) else read(network)
    architecture = Architecture.of(packed)
    inputs = [network_input(image, architecture.model, architecture.scale) for image in images]
    if exact_layers is None:
        exact_layers = NETWORKS[architecture.model].exact_at(architecture.scale)
    return calibrate_inputs(packed, architecture, inputs, percentiles, exact_layers)


def calibrate_inputs(
    packed: PackedNetwork,
    architecture: Architecture,
    inputs: Sequence[Array],
    percentiles: Sequence[float] = (100.0,),
    exact_layers: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, Ranges]:
    """Calibrate any architecture on network inputs: float32 of shape (C, h, w).

    The first `exact_layers` of its binary layers, but at most half of them, keep their inputs in float32.
    """
    if not percentiles:
        raise InputError("percentiles: none given; name at least one, such as 100")
    kinds: tuple[Activations, ...] = ("int8", "int6")
    statistics = measure(packed, architecture, inputs, percentiles)
    in_levels = [layer for layer in statistics if layer in packed.binary]

    def ranges(kind: str, percentile: int, every: int = 1) -> Ranges:
        exact = min(exact_layers.get(kind, 0), len(in_levels) // 2)
        rest = {layer: statistics[layer].range(percentile, every) for layer in in_levels[exact:]}
        return dict.fromkeys(in_levels[:exact]) | rest

    kept: dict[str, Ranges] = {
        "int1": {layer: statistics[layer].magnitudes for layer in in_levels},
        FLOAT_LAYERS: {
            layer: statistics[layer].by_channel for layer in list(statistics)[1:] if layer not in packed.binary
        },
    }
    if len(percentiles) == 1 or not packed.binary:
        return {kind: ranges(kind, 0) for kind in kinds} | kept
    others = inputs[1::2] or inputs
    exact = _outputs(packed, architecture, others, "float32")
    for kind in kinds:
        losses = []
        for percentile in range(len(percentiles)):
            candidate = ranges(kind, percentile, every=2)
            ranged = replace(packed, metadata={"activations": {kind: candidate}})
            outputs = _outputs(ranged, architecture, others, kind)
            losses.append(sum(float(((a - b) ** 2).sum()) for a, b in zip(outputs, exact, strict=True)))
        widest, least = int(np.argmax(percentiles)), int(np.argmin(losses))
        kept[kind] = ranges(kind, least if losses[least] <= CLEAR_GAIN * losses[widest] else widest)
    return kept


@dataclass
class Statistics:
    """What was seen of one layer's input, by network input.

    Attributes
    ----------
    ends : list of float32, shape (2, percentiles)
        The values that 100 minus each percentile, and each percentile, lie below.
    low, high : list of float32, shape (C,)
        Smallest and largest value of each channel.
    total, count : float
        Sum of the absolute values of all inputs, and their number.
    """

    ends: list[Array] = field(default_factory=list)
    low: list[Array] = field(default_factory=list)
    high: list[Array] = field(default_factory=list)
    total: float = 0.0
    count: int = 0

    def range(self, percentile: int, every: int) -> list[float]:
        """Return the smallest range that contains zero and those of every so many inputs for a percentile."""
        low, high = np.array(self.ends[::every])[:, :, percentile].T
        return [min(0.0, float(low.min())), max(SMALLEST_RANGE, float(high.max()))]

    @property
    def by_channel(self) -> dict[str, list[float]]:
        """The range of each channel, zero included, to four digits."""
        low, high = np.minimum(np.min(self.low, axis=0), 0), np.maximum(np.max(self.high, axis=0), 0)
        return {end: [float(f"{value:.4g}") for value in values] for end, values in (("low", low), ("high", high))}

    @property
    def magnitudes(self) -> list[float]:
        """Minus and plus the mean absolute value."""
        mean = max(self.total / self.count, SMALLEST_RANGE)
        return [-mean, mean]


def measure(
    packed: PackedNetwork, architecture: Architecture, inputs: Sequence[Array], percentiles: Sequence[float]
) -> dict[str, Statistics]:
    """Run the network with float32 activations and collect statistics of each layer's input.

    Parameters
    ----------
    packed : PackedNetwork
    architecture : Architecture
    inputs : sequence of float32, shape (C, h, w)
        Network inputs.
    percentiles : sequence of float
        Above 50, up to 100.

    Returns
    -------
    dict of str to Statistics
        In the order in which the layers run.
    """
    for percentile in percentiles:
        if not 50 < percentile <= 100:
            raise InputError(f"percentile: {percentile} is out of range; choose one above 50, up to 100")
    statistics: dict[str, Statistics] = {}

    def observe(layer: str, values: Array) -> None:
        seen = statistics.setdefault(layer, Statistics())
        seen.low.append(values.min(axis=(1, 2)))
        seen.high.append(values.max(axis=(1, 2)))
        if layer in packed.binary:
            every = values.ravel("K")
            seen.ends.append(
                np.stack([-_upper_percentiles(-every, percentiles), _upper_percentiles(every, percentiles)])
            )
            seen.total += float(np.abs(every).sum(dtype=np.float64))
            seen.count += values.size

    ops = _ObservedOps(layers_of(packed, architecture), observe)
    for x in inputs:
        architecture.forward(ops, x)
    return statistics


def _upper_percentiles(values: Array, percentiles: Sequence[float]) -> Array:
    """Return what `numpy.percentile` returns; faster where only few values lie above the lowest percentile."""
    positions = (values.size - 1) * np.array(percentiles) / 100
    first = int(positions.min())
    tail = np.sort(np.partition(values, first)[first:])
    return np.interp(positions - first, np.arange(len(tail)), tail).astype(np.float32)


def _outputs(
    packed: PackedNetwork, architecture: Architecture, inputs: Sequence[Array], activations: Activations
) -> list[Array]:
    engine = Engine(packed, activations, architecture=architecture)
    return [engine.forward(x) for x in inputs]


class _ObservedOps(EngineOps):
    """The engine's operation with float32 activations; each layer's input is passed to `observe` first."""

    def __init__(self, layers: Mapping[str, Layer], observe: Callable[[str, Array], None]) -> None:
        super().__init__(layers, {})
        self.observe = observe

    def conv(self, layer: str, x: Any, **arguments: Any) -> Any:
        self.observe(layer, x if isinstance(x, np.ndarray) else x.inside)
        return super().conv(layer, x, **arguments)
