"""Train one network of params.yaml, alone or under `torchrun`; resume from its checkpoint if there is one."""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # idle threads of PyTorch leave their cores to those of Numba sooner

import sys
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer
from safetensors.torch import save

from pipeline.errors import InputError
from pipeline.files import atomic, write_csv, write_json
from pipeline.params import load_params
from pipeline.runs import Run
from pipeline.training.checkpoints import delete_checkpoint
from pipeline.training.distributed import this_process
from pipeline.training.interruption import STOPPED, interruptible
from pipeline.training.run import Plan, Start, train_planned
from stages.arguments import Model, Scale, Weights
from stages.run import stage


def main(
    model: Model,
    scale: Scale,
    weights: Weights,
    start: Annotated[
        Path | None, typer.Option(help="A float network to start from: imported, or trained here.")
    ] = None,
    distillation: Annotated[
        float, typer.Option(help="Share of the loss that is taken against the output of the --start network, 0 to 1.")
    ] = 0.0,
) -> None:
    if not 0 <= distillation <= 1 or (distillation and start is None):
        raise InputError("--distillation: is a share from 0 to 1, and needs --start")
    run = Run(model, scale, weights)
    params = load_params()
    params.require(run.model, run.scale)
    from_float = None if start is None else _start(start, run.model, run.scale)
    plan = Plan.of(params, run.model, (run.scale,), run.weights, start=from_float, distillation=distillation)
    checkpoint = run.checkpoint(params.profile)
    with this_process() as process, interruptible() as interruption:
        trained = train_planned(plan, checkpoint, process, interruption)
        if not process.leads:
            return
    if trained.record is None:
        print(f"stopped and saved in {checkpoint}; the same command goes on from there", file=sys.stderr)
        sys.exit(STOPPED)
    with atomic(run.weights_file) as temporary:
        weights_bytes = save({name: value.cpu().contiguous() for name, value in trained.module.state_dict().items()})
        temporary.write_bytes(weights_bytes)
    write_csv(run.history, trained.history)
    write_json(run.training_record, asdict(trained.record))
    if trained.finished:
        delete_checkpoint(checkpoint)


def _start(path: Path, model: str, scale: int) -> Start:
    from pipeline.importing import import_network  # most trainings do not need it

    state = import_network(path, model, scale).state_dict()
    return Start(path.name, sha256(path.read_bytes()).hexdigest(), state)


if __name__ == "__main__":
    stage(main)
