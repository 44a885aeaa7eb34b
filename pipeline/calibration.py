"""The ranges of a binary network's activations, for running it on 8 bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.layers import Layer, layers_of
from pipeline.engine.networks import Architecture, Array
from pipeline.engine.runner import EngineOps
from pipeline.errors import InputError
from pipeline.packed import PackedNetwork, read
from pipeline.upscaling import upscale_image

SMALLEST_RANGE = 1e-6  # for a layer whose input is all zero: any positive range represents it


def calibrate(
    network: str | Path | PackedNetwork, images: Sequence[NDArray[np.uint8]], percentile: float = 100.0
) -> dict[str, float]:
    """Measure the range of each binary layer's input, running the network with float32 activations.

    Parameters
    ----------
    network : path or PackedNetwork
    images : sequence of uint8, shape (h, w, 3) or (h, w)
        LR images like those to come.
    percentile : float
        In 0..100: the percentile of an image's absolute activations that is its range; 100 is their maximum. The
        layer's range is the largest of the images'.

    Returns
    -------
    dict of str to float
        By layer; what `pipeline.packing.save` expects as ``metadata["activations"]``. Empty for a float network.

    Raises
    ------
    InputError
        If there are no images, the percentile is out of range, or the network cannot be read.
    """
    if not images:
        raise InputError("images: none to calibrate with; give one or more")
    if not 0 < percentile <= 100:
        raise InputError(f"percentile: {percentile}; choose one above 0, up to 100")
    packed = network if isinstance(network, PackedNetwork) else read(network)
    architecture = Architecture.of(packed)
    ops = _RangeOps(layers_of(packed, architecture), percentile)
    for image in images:
        upscale_image(lambda x: architecture.forward(ops, x), image, architecture.model, architecture.scale)
    return ops.ranges


class _RangeOps(EngineOps):
    """The engine's operation with float32 activations, keeping the ranges of what binary layers read."""

    def __init__(self, layers: Mapping[str, Layer], percentile: float) -> None:
        super().__init__(layers, ranges={})
        self.percentile = percentile
        self.ranges = {name: SMALLEST_RANGE for name, layer in layers.items() if layer.binary}

    def conv(self, layer: str, x: Array, **arguments: Any) -> Array:
        if layer in self.ranges:
            found = float(np.percentile(np.abs(x), self.percentile))
            self.ranges[layer] = max(self.ranges[layer], found)
        return super().conv(layer, x, **arguments)
