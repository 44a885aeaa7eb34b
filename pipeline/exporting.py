"""Export of a trained network to its packed file, with the ranges in which its activations are quantized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from pipeline.data.prepared import ImagePair, PreparedSet
from pipeline.data.samples import lr_crops
from pipeline.default_mode import default_mode
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
    validation: Sequence[ImagePair],
    seed: int,
) -> PackedNetwork:
    """Pack and write a network made by `pipeline.models.build`.

    The ranges of a binary one are measured on training crops, and its default mode is chosen on validation images.

    Parameters
    ----------
    module : torch.nn.Module
    path : Path
    metadata : mapping
        As for `pipeline.packing.pack`; ``activations`` and ``mode`` are added to it.
    settings : pipeline.params.Export
    float_type : {"float32", "float16"}
    training_set : PreparedSet
    validation : sequence of pairs of uint8 arrays
        LR and HR images, see `pipeline.default_mode`.
    seed : int
        It chooses the crops.
    """
    packed = pack(module, metadata, float_type)
    if packed.binary:
        packed = calibrated(packed, settings, training_set, validation, seed)
    write(packed, path)
    return packed


def calibrated(
    packed: PackedNetwork,
    settings: Export,
    training_set: PreparedSet,
    validation: Sequence[ImagePair],
    seed: int,
) -> PackedNetwork:
    """Return a binary network with its ranges and its default mode; the parameters are those of `export`."""
    scale, side, count = packed.config["scale"], settings.calibration_crop, settings.calibration_images
    ranges = calibrate(packed, lr_crops(training_set, scale, side, count, seed), settings.calibration_percentiles)
    packed = replace(packed, metadata={**packed.metadata, "activations": ranges})
    return replace(packed, metadata={**packed.metadata, "mode": default_mode(packed, validation)})
