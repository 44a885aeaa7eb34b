"""One training from its plan to a trained network and the record of how it was made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipeline.binarize import start_from_float
from pipeline.data.crops import Crops
from pipeline.data.prepared import PreparedSet
from pipeline.distributed import Process
from pipeline.models import build
from pipeline.runs import Weights, prepared_folder
from pipeline.training import ImagePair, train

if TYPE_CHECKING:
    from pipeline.params import Training


@dataclass(frozen=True)
class Start:
    """The float weights that a training starts from.

    Attributes
    ----------
    name : str
        Whose weights they are.
    sha256 : str
        Of their file.
    state : dict of str to Tensor
    """

    name: str
    sha256: str
    state: dict[str, Tensor]


@dataclass(frozen=True)
class Plan:
    """What is trained, and on what; `overrides` are those of `pipeline.models.build`."""

    model: str
    scale: int
    weights: Weights
    overrides: dict[str, Any]
    settings: Training
    seed: int
    training_set: str
    validation_set: str
    validation_images: int
    start: Start | None = None


@dataclass(frozen=True)
class Trained:
    """A trained network: its weights, its history (see `pipeline.training.Record`) and its record for the files.

    Attributes
    ----------
    finished : bool
        Whether all planned iterations were made.
    """

    module: nn.Module
    history: list[dict[str, float]]
    record: dict[str, Any]
    finished: bool


def validation_images(plan: Plan) -> list[ImagePair]:
    """Give the LR and HR images that are watched during the training."""
    images = PreparedSet.open(prepared_folder(plan.validation_set))
    shown = range(min(plan.validation_images, len(images)))
    return [(images.lr(i, plan.scale), images.hr(i, plan.scale)) for i in shown]


def settings_record(settings: Training) -> dict[str, Any]:
    """Give the settings on which the result of a training depends."""
    record = settings.model_dump(exclude={"max_minutes", "checkpoint_every"})
    if not record["distillation"]:  # the first records do not have it
        del record["distillation"]
    return record


def train_planned(plan: Plan, checkpoint: Path, process: Process) -> Trained:
    """Train the planned network, going on from `checkpoint` where there is one of this plan."""
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(plan.seed)
    module = build(plan.model, plan.scale, plan.weights, **plan.overrides)
    if plan.start is not None:
        start_from_float(module, plan.start.state)
    module.to(process.device)
    prepared = PreparedSet.open(prepared_folder(plan.training_set))
    lr_size = plan.settings.patch.lr_size(plan.scale)
    crops = Crops(prepared, plan.scale, lr_size, plan.model == "vdsr", process.device)
    identity: dict[str, Any] = {
        "network": module.config,
        "settings": settings_record(plan.settings),
        "seed": plan.seed,
        "data": {file: prepared.sha256[file] for file in ("hr.bin", f"x{plan.scale}.bin")},
        "start": plan.start.sha256 if plan.start is not None else None,
    }
    teacher = _teacher(plan, process)
    done = train(
        module, crops, validation_images(plan), plan.settings, plan.seed, checkpoint, identity, process, teacher
    )
    finished = done.iteration == plan.settings.iterations
    record = {
        "iterations": done.iteration,
        "planned_iterations": plan.settings.iterations,
        "stopped": "finished" if finished else "max_minutes",
        "loss": done.history[-1]["loss"],
        "psnr_y": done.history[-1]["psnr_y"],
        "seconds": round(done.seconds, 2),
        "images_per_second": round(done.images / done.seconds, 2),
        "batch": plan.settings.batch,
        "lr_patch": lr_size,
        "precision": plan.settings.precision,
        "start": plan.settings.start,
        "distillation": plan.settings.distillation,
        "seed": plan.seed,
        "training_set": plan.training_set,
        "validation_set": plan.validation_set,
        "device": " and ".join(done.devices),
        "processes": process.count,
        "threads": torch.get_num_threads(),
    }
    return Trained(module, done.history, record, finished)


def _teacher(plan: Plan, process: Process) -> nn.Module | None:
    """The float twin, where the plan has a binary network learn from its outputs."""
    if not plan.settings.distillation or plan.start is None:
        return None
    teacher = build(plan.model, plan.scale, "float", **plan.overrides)
    teacher.load_state_dict(plan.start.state)
    return teacher.to(process.device)
