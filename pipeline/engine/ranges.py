"""The ranges in a packed network's metadata, to which the inputs of layers are rounded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.engine.layers import Layer
from pipeline.engine.quantization import Bfloat16, Quantization, Rounding
from pipeline.errors import InputError
from pipeline.packed import PackedNetwork
from pipeline.packed_rules import finite
from pipeline.runs import Activations, FloatLayers

BITS = {"int8": 8, "int6": 6, "int1": 1}
SMALLEST_RANGE = 1e-30  # of activations: float32 holds its steps and their inverses
FLOAT_LAYERS = "float_layers"  # key of their input ranges in the metadata


def roundings_of(
    packed: PackedNetwork, layers: Mapping[str, Layer], activations: Activations, float_layers: FloatLayers
) -> dict[str, Rounding]:
    """Return the input rounding of each layer that does not compute in float32, from the ranges in the metadata.

    Raises
    ------
    InputError
        If there are no binary layers to round for, or the range of a layer is missing. A range of None is not
        missing: it keeps the layer's input in float32.
    """
    binary = [name for name, layer in layers.items() if layer.binary]
    if activations != "float32" and not binary:
        raise InputError(f"activations: {activations} needs binary layers, and the network has none; choose float32")
    roundings: dict[str, Rounding] = {}
    if activations != "float32":
        ranges = {name: _range(packed, activations, name) for name in binary}
        roundings = {name: Quantization.of(*ends, BITS[activations]) for name, ends in ranges.items() if ends}
    others = [name for name in list(layers)[1:] if not layers[name].binary]
    if float_layers == "bfloat16":
        roundings |= dict.fromkeys(others, Bfloat16())
    elif float_layers == "int8":
        roundings |= {name: _by_channel(packed, name, layers[name].filters.shape[1]) for name in others}
    return roundings


def _range(packed: PackedNetwork, kind: str, layer: str) -> tuple[float, float] | None:
    field = f"metadata.activations.{kind}.{layer}"
    ranges = (packed.metadata.get("activations") or {}).get(kind) or {}
    if (ends := ranges.get(layer)) is None and layer in ranges:
        return None
    remedy = f"export with calibration for {kind}"
    if not isinstance(ends, list | tuple) or len(ends) != 2:
        raise InputError(f"{field}: {ends!r:.60} is not a range; {remedy}")
    if not all(map(finite, ends)):
        raise InputError(f"{field}: {ends!r:.60} is not a pair of finite numbers; {remedy}")
    low, high = min(float(ends[0]), 0.0), max(float(ends[1]), 0.0)
    if not high - low >= SMALLEST_RANGE:
        raise InputError(f"{field}: {ends!r:.60} is an empty range; {remedy}")
    return low, high


def _by_channel(packed: PackedNetwork, layer: str, channels: int) -> Quantization:
    field = f"metadata.activations.{FLOAT_LAYERS}.{layer}"
    ranges = ((packed.metadata.get("activations") or {}).get(FLOAT_LAYERS) or {}).get(layer)
    remedy = "export with calibration for int8"
    if not isinstance(ranges, dict):
        raise InputError(f"{field}: {ranges!r:.60} has no ranges; {remedy}")
    ends = []
    for end in ("low", "high"):
        values = ranges.get(end)
        if not isinstance(values, list) or len(values) != channels:
            raise InputError(f"{field}.{end}: not a list of {channels} numbers; {remedy}")
        if not all(map(finite, values)):
            raise InputError(f"{field}.{end}: {values!r:.60} must all be finite; {remedy}")
        ends.append(np.array(values, np.float32))
    return Quantization.of_channels(*ends)
