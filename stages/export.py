"""Pack one trained network; for a binary one, calibrate its activations' ranges on crops of the training set."""

from __future__ import annotations

import json

from safetensors.torch import load_file

from pipeline.calibration import calibrate
from pipeline.data.prepared import PreparedSet
from pipeline.data.samples import lr_crops
from pipeline.errors import InputError, one_line_errors
from pipeline.files import atomic, write_json
from pipeline.models import build
from pipeline.packed import read
from pipeline.packing import footprint, save
from pipeline.params import load_params
from pipeline.runs import prepared_folder
from stages.arguments import run_arguments


def main() -> None:
    run = run_arguments(__doc__)
    params = load_params()
    params.require(run.model, run.scale)
    if not run.weights_file.exists():
        raise InputError(f"{run.weights_file}: no such file; train {run.name} first")
    module = build(run.model, run.scale, run.weights, **params.overrides(run.model, run.weights))
    module.load_state_dict(load_file(run.weights_file))
    metadata = {"training": json.loads(run.training_record.read_text())}
    with atomic(run.packed) as temporary:
        save(module, temporary, metadata, params.export.float_dtype)
        if run.weights == "binary":
            images = lr_crops(
                PreparedSet.open(prepared_folder(params.data.train)),
                run.scale,
                params.export.calibration_crop,
                params.export.calibration_images,
                params.seed,
            )
            metadata["activations"] = calibrate(read(temporary), images, params.export.calibration_percentiles)
            save(module, temporary, metadata, params.export.float_dtype)
    write_json(run.export_record, footprint(module, run.packed))


if __name__ == "__main__":
    with one_line_errors():
        main()
