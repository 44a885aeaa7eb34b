"""Train one network of params.yaml, alone or under `torchrun`; goes on from its checkpoint where there is one."""

from __future__ import annotations

import os

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic CUDA products need, before CUDA starts

from hashlib import sha256
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from pipeline.binarize import start_from_float
from pipeline.data.crops import Crops
from pipeline.data.prepared import PreparedSet
from pipeline.distributed import this_process
from pipeline.errors import InputError, one_line_errors
from pipeline.files import atomic, write_csv, write_json
from pipeline.models import build
from pipeline.params import load_params
from pipeline.runs import prepared_folder
from pipeline.training import train
from stages.arguments import run_arguments


def main() -> None:
    run = run_arguments(__doc__)
    params = load_params()
    params.require(run.model, run.scale)
    settings = params.training(run.model, run.weights)
    training_set = PreparedSet.open(prepared_folder(params.data.train))
    validation_set = PreparedSet.open(prepared_folder(params.data.validation))
    shown = range(min(params.data.validation_images, len(validation_set)))
    validation = [(validation_set.lr(i, run.scale), validation_set.hr(i, run.scale)) for i in shown]

    twin = run.float_twin.weights_file if settings.start == "float" else None
    if twin is not None and not twin.exists():
        raise InputError(f"{twin}: the float twin is not trained; train it first or set start: scratch")

    torch.use_deterministic_algorithms(True)
    torch.manual_seed(params.seed)
    with this_process() as process:
        module = build(run.model, run.scale, run.weights, **params.overrides(run.model, run.weights))
        if twin is not None:
            start_from_float(module, load_file(twin))
        module.to(process.device)
        lr_size = settings.patch.lr_size(run.scale)
        crops = Crops(training_set, run.scale, lr_size, run.model == "vdsr", process.device)
        identity: dict[str, Any] = {
            "network": module.config,
            "settings": settings.model_dump(exclude={"max_minutes", "checkpoint_every"}),
            "seed": params.seed,
            "data": training_set.sha256,
            "start": sha256(twin.read_bytes()).hexdigest() if twin is not None else None,
        }
        record = train(module, crops, validation, settings, params.seed, run.checkpoint, identity, process)
        if not process.leads:
            return

    finished = record.iteration == settings.iterations
    with atomic(run.weights_file) as temporary:
        save_file({name: value.cpu().contiguous() for name, value in module.state_dict().items()}, temporary)
    write_csv(run.history, record.history)
    write_json(
        run.training_record,
        {
            "iterations": record.iteration,
            "planned_iterations": settings.iterations,
            "stopped": "finished" if finished else "max_minutes",
            "loss": record.history[-1]["loss"],
            "psnr_y": record.history[-1]["psnr_y"],
            "seconds": round(record.seconds, 2),
            "images_per_second": round(record.images / record.seconds, 2),
            "batch": settings.batch,
            "lr_patch": lr_size,
            "precision": settings.precision,
            "start": settings.start,
            "seed": params.seed,
            "training_set": params.data.train,
            "validation_set": params.data.validation,
            "device": torch.cuda.get_device_name() if process.device.type == "cuda" else "cpu",
            "processes": process.count,
            "threads": torch.get_num_threads(),
        },
    )
    if finished:
        run.checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    with one_line_errors():
        main()
