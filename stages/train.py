"""Train one network of params.yaml, alone or under `torchrun`; goes on from its checkpoint where there is one."""

from __future__ import annotations

import os

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic CUDA products need, before CUDA starts

from hashlib import sha256

from safetensors.torch import load_file, save_file

from pipeline.checkpoints import delete_checkpoint
from pipeline.distributed import this_process
from pipeline.errors import InputError
from pipeline.files import atomic, write_csv, write_json
from pipeline.params import load_params
from pipeline.runs import Run
from pipeline.training_run import Plan, Start, train_planned
from stages.arguments import run_arguments
from stages.run import stage


def main() -> None:
    run = run_arguments(__doc__)
    params = load_params()
    params.require(run.model, run.scale)
    settings = params.training(run.model, run.weights)
    plan = Plan(
        run.model,
        run.scale,
        run.weights,
        params.overrides(run.model, run.weights),
        settings,
        params.seed,
        params.data.train,
        params.data.validation,
        params.data.validation_images,
        _float_weights(run) if settings.start == "float" else None,
    )
    with this_process() as process:
        trained = train_planned(plan, run.checkpoint, process)
        if not process.leads:
            return
    with atomic(run.weights_file) as temporary:
        save_file({name: value.cpu().contiguous() for name, value in trained.module.state_dict().items()}, temporary)
    write_csv(run.history, trained.history)
    write_json(run.training_record, trained.record)
    if trained.finished:
        delete_checkpoint(run.checkpoint)


def _float_weights(run: Run) -> Start:
    path = run.float_twin.weights_file
    if not path.exists():
        raise InputError(f"{path}: the float twin is not trained; train it first or set start: scratch")
    return Start(run.float_twin.name, sha256(path.read_bytes()).hexdigest(), load_file(path))


if __name__ == "__main__":
    with stage():
        main()
