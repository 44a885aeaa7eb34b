"""The format of each layer's output, as its readers need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.engine.layers import Layer
from pipeline.engine.quantization import Rounding

Method = Literal["auto", "tables", "popcount"]


@dataclass(frozen=True)
class OutputFormat:
    """The format of a layer's output.

    Attributes
    ----------
    planes : bool
        Whether it is one float32 array of shape (C, H, W), for the caller, and nothing else.
    halo : int, optional
        Halo of the float32 image; None if no reader needs float32.
    rounding : Rounding, optional
        Rounding of the image for a reader; None if none needs it.
    levels_halo : int
        Halo of the rounded image.
    """

    planes: bool = False
    halo: int | None = None
    rounding: Rounding | None = None
    levels_halo: int = 0


def output_format_of(layer: Layer, layers: Mapping[str, Layer], roundings: Mapping[str, Rounding]) -> OutputFormat:
    """Return the format that a layer's readers need.

    The rounded image is for the first reader that needs one; other such readers round float32 themselves.

    Parameters
    ----------
    layer : Layer
    layers : mapping of str to Layer
        All layers.
    roundings : mapping of str to Rounding
        Of the inputs of the layers that do not compute in float32.
    """
    if not layer.readers and not layer.adders:
        return OutputFormat(planes=True)
    halos = {name: layers[name].filters.shape[2] // 2 for name in layer.readers}
    rounding = [name for name in layer.readers if name in roundings]
    values = [halo for name, halo in halos.items() if name not in rounding[:1]]
    halo = max([*values, *([0] if layer.adders else [])], default=None)
    if not rounding:
        return OutputFormat(halo=halo)
    return OutputFormat(halo=halo, rounding=roundings[rounding[0]], levels_halo=halos[rounding[0]])
