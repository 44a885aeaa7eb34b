"""From a trained network to its packed file, with the ranges that its activations are rounded in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from pipeline.calibration import calibrate
from pipeline.data.prepared import PreparedSet
from pipeline.data.samples import lr_crops
from pipeline.files import atomic
from pipeline.packed import read
from pipeline.packing import save

if TYPE_CHECKING:
    from pipeline.params import Export


def export(
    module: nn.Module,
    path: Path,
    metadata: Mapping[str, Any],
    settings: Export,
    float_dtype: Literal["float32", "float16"],
    training_set: PreparedSet,
    seed: int,
) -> None:
    """Write a network made by `pipeline.models.build`; a binary one's ranges are measured on training crops.

    Parameters
    ----------
    module : torch.nn.Module
    path : Path
    metadata : mapping
        As for `pipeline.packing.save`; ``activations`` is added to it.
    settings : pipeline.params.Export
    float_dtype : {"float32", "float16"}
    training_set : PreparedSet
    seed : int
        Which crops.
    """
    said = dict(metadata)
    config: Any = module.config
    with atomic(path) as temporary:
        save(module, temporary, said, float_dtype)
        if config["weights"] == "binary":
            crops = lr_crops(
                training_set, config["scale"], settings.calibration_crop, settings.calibration_images, seed
            )
            said["activations"] = calibrate(read(temporary), crops, settings.calibration_percentiles)
            save(module, temporary, said, float_dtype)
