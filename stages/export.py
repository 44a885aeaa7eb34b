"""Pack one trained network; for a binary one, calibrate its activations' ranges on crops of the training set."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pipeline.data.prepared import PreparedSet
from pipeline.errors import InputError
from pipeline.exporting import export
from pipeline.files import write_json
from pipeline.models import build
from pipeline.packing import footprint
from pipeline.params import load_params
from pipeline.reading import read_json
from pipeline.runs import Run, prepared_folder
from stages.arguments import Model, Scale, Weights
from stages.run import stage


def main(model: Model, scale: Scale, weights: Weights) -> None:
    run = Run(model, scale, weights)
    params = load_params()
    params.require(run.model, run.scale)
    module = build(run.model, run.scale, run.weights, **params.overrides(run.model, run.weights))
    _load_trained(module, run)
    metadata = {"training": read_json(run.training_record, dict[str, Any], f"train {run.name} again")}
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


def _load_trained(module: nn.Module, run: Run) -> None:
    """Give a network its trained weights; an `InputError` says why there are none for it."""
    if not run.weights_file.exists():
        raise InputError(f"{run.weights_file}: no such file; train {run.name} first")
    try:
        state = load_file(run.weights_file)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{run.weights_file}: damaged ({error}); delete it and train {run.name} again") from error
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            f"{run.weights_file}: is no {run.weights} {run.model} of the sizes in params.yaml; train {run.name} again, "
            f"or write its sizes in network.{run.model}"
        ) from error


if __name__ == "__main__":
    stage(main)
