"""What each layer's output is wanted as, by the layers that read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.engine.layers import Layer
from pipeline.engine.quantization import Quantization

Method = Literal["tables", "popcount"]


@dataclass(frozen=True)
class Wanted:
    """What a layer's output is to be.

    Attributes
    ----------
    planes : bool
        One float32 array of shape (C, H, W), for the caller; nothing else then.
    halo : int, optional
        Pixels around the image in float32; none if it is not wanted in float32.
    quantization : Quantization, optional
        Of the output in levels, if that is wanted.
    levels_halo : int
        Pixels around the image in levels.
    """

    planes: bool = False
    halo: int | None = None
    quantization: Quantization | None = None
    levels_halo: int = 0


def wanted_of(layer: Layer, layers: Mapping[str, Layer], quantizations: Mapping[str, Quantization]) -> Wanted:
    """What a layer's readers want; levels for one of those that compute with integers, the others round for themselves.

    Parameters
    ----------
    layer : Layer
    layers : mapping of str to Layer
        All layers.
    quantizations : mapping of str to Quantization
        Of the inputs of the layers that compute with integers.
    """
    if not layer.readers and not layer.added:
        return Wanted(planes=True)
    halos = {name: layers[name].filters.shape[2] // 2 for name in layer.readers}
    rounding = [name for name in layer.readers if name in quantizations]
    values = [halo for name, halo in halos.items() if name not in rounding[:1]]
    halo = max([*values, *([0] if layer.added else [])], default=None)
    if not rounding:
        return Wanted(halo=halo)
    return Wanted(halo=halo, quantization=quantizations[rounding[0]], levels_halo=halos[rounding[0]])
