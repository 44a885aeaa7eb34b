"""Export of a trained network to its packed file, with the ranges in which its activations are quantized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from pipeline.data.prepared import PreparedSet
from pipeline.data.samples import lr_crops
from pipeline.engine.calibration import calibrate
from pipeline.packed import FloatType, PackedNetwork, write
from pipeline.packing import pack

if TYPE_CHECKING:
    from pipeline.params import Export


def export(
    module: nn.Module,
    path: Path,
    metadata: Mapping[str, Any],
    settings: Export,
    float_type: FloatType,
    training_set: PreparedSet,
    seed: int,
) -> PackedNetwork:
    """Pack and write a network made by `pipeline.models.build`; a binary one's ranges are measured on training crops.

    Parameters
    ----------
    module : torch.nn.Module
    path : Path
    metadata : mapping
        As for `pipeline.packing.pack`; ``activations`` is added to it.
    settings : pipeline.params.Export
    float_type : {"float32", "float16"}
    training_set : PreparedSet
    seed : int
        It chooses the crops.
    """
    packed = pack(module, metadata, float_type)
    if packed.binary:
        scale, side, count = packed.config["scale"], settings.calibration_crop, settings.calibration_images
        ranges = calibrate(packed, lr_crops(training_set, scale, side, count, seed), settings.calibration_percentiles)
        packed = replace(packed, metadata={**packed.metadata, "activations": ranges})
    write(packed, path)
    return packed
