"""Pack one trained network; for a binary one, calibrate its activations' ranges on crops of the training set."""

from __future__ import annotations

import json
from dataclasses import asdict

from safetensors.torch import load_file

from pipeline.data.prepared import PreparedSet
from pipeline.errors import InputError
from pipeline.exporting import export
from pipeline.files import write_json
from pipeline.models import build
from pipeline.packing import footprint
from pipeline.params import load_params
from pipeline.runs import Run, prepared_folder
from stages.arguments import Model, Scale, Weights
from stages.run import stage


def main(model: Model, scale: Scale, weights: Weights) -> None:
    run = Run(model, scale, weights)
    params = load_params()
    params.require(run.model, run.scale)
    if not run.weights_file.exists():
        raise InputError(f"{run.weights_file}: no such file; train {run.name} first")
    module = build(run.model, run.scale, run.weights, **params.overrides(run.model, run.weights))
    module.load_state_dict(load_file(run.weights_file))
    metadata = {"training": json.loads(run.training_record.read_text())}
    training_set = PreparedSet.open(prepared_folder(params.data.train))
    validation_set = PreparedSet.open(prepared_folder(params.data.validation))
    validation = validation_set.pairs(params.data.validation_images, [scale])
    packed = export(
        module,
        run.packed,
        metadata,
        params.export,
        params.export.float_dtype,
        training_set,
        validation,
        params.seed,
    )
    write_json(run.export_record, asdict(footprint(module, packed)))


if __name__ == "__main__":
    stage(main)
