"""One training from its plan to a trained network and the record of how it was made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipeline.allocator import keep_freed_memory
from pipeline.data.crops import Crops
from pipeline.data.prepared import ImagePair, PreparedSet
from pipeline.errors import InputError
from pipeline.inference import exact_float32
from pipeline.models import build
from pipeline.models.binarize import start_from_float
from pipeline.networks import NETWORKS
from pipeline.records import TrainingRecord
from pipeline.runs import Weights, prepared_folder
from pipeline.training.distributed import Process
from pipeline.training.interruption import Interruption
from pipeline.training.loop import train

if TYPE_CHECKING:
    from pipeline.params import Params, Training


@dataclass(frozen=True)
class Start:
    """The float weights that a training starts from.

    Attributes
    ----------
    name : str
        The network or file that they come from.
    sha256 : str
        Hash of their file.
    state : dict of str to Tensor
    """

    name: str
    sha256: str
    state: dict[str, Tensor]


@dataclass(frozen=True)
class Plan:
    """The plan of a training: its network, its settings and its image sets.

    Attributes
    ----------
    model, weights, overrides
        See `pipeline.models.build`.
    scales : tuple of int
        More than one for a network that serves several (VDSR): each batch has equally many crops of every scale.
    settings : pipeline.params.Training
    seed : int
    training_set, validation_set : str
    validation_images : int
        How many images of the validation set are used, from the first.
    start : Start, optional
        The float weights to start from; by default random ones.
    distillation : float in [0, 1]
        Share of the loss that compares with the output of the starting network instead of HR.
    """

    model: str
    scales: tuple[int, ...]
    weights: Weights
    overrides: dict[str, Any]
    settings: Training
    seed: int
    training_set: str
    validation_set: str
    validation_images: int
    start: Start | None = None
    distillation: float = 0.0

    @classmethod
    def of(cls, params: Params, model: str, scales: tuple[int, ...], weights: Weights, **changes: Any) -> Plan:
        """Return the plan of a profile's params, with changes to some fields."""
        fields: dict[str, Any] = {
            "overrides": params.overrides(model, weights),
            "settings": params.training(model),
            "seed": params.seed,
            "training_set": params.data.train,
            "validation_set": params.data.validation,
            "validation_images": params.data.validation_images,
        }
        return cls(model, scales, weights, **fields | changes)

    @property
    def scale(self) -> int:
        """The scale with which the network is built."""
        return self.scales[0]


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes
    ----------
    history : list of dict
        See `pipeline.training.loop.Record`.
    record : TrainingRecord or None
        How it was trained; None where `interrupted`.
    finished : bool
        Whether all planned iterations were made.
    interrupted : bool
        Whether a signal stopped it early; it can be resumed from its checkpoint.
    environment : dict
        Where it was trained, see `pipeline.provenance.environment`.
    """

    module: nn.Module
    history: list[dict[str, float]]
    record: TrainingRecord | None
    finished: bool
    interrupted: bool
    environment: dict[str, Any]


def validation_images(plan: Plan) -> list[ImagePair]:
    """Return the LR and HR images on which the training is validated."""
    return PreparedSet.open(prepared_folder(plan.validation_set)).pairs(plan.validation_images, plan.scales)


def settings_record(settings: Training) -> dict[str, Any]:
    """Return the settings on which the result of a training depends."""
    return settings.model_dump(exclude={"max_minutes", "checkpoint_every"})


def train_planned(plan: Plan, checkpoint: Path, process: Process, interruption: Interruption | None = None) -> Trained:
    """Train the planned network, resuming from `checkpoint` if it has one of this plan."""
    keep_freed_memory()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at CUDA's first product: makes it deterministic
    torch.use_deterministic_algorithms(True)
    exact_float32()
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # it is never read
    torch.manual_seed(plan.seed)
    module = build(plan.model, plan.scale, plan.weights, **plan.overrides)
    if plan.start is not None:
        try:
            start_from_float(module, plan.start.state)
        except (KeyError, RuntimeError) as error:
            raise InputError(
                f"{plan.start.name}: is not a float {plan.model} of the sizes in params.yaml; write its sizes in "
                f"network.{plan.model}"
            ) from error
    module.to(process.device)
    prepared = PreparedSet.open(prepared_folder(plan.training_set))
    crops = _crops(plan, prepared, process)
    identity: dict[str, Any] = {
        "network": module.config,
        "settings": settings_record(plan.settings),
        "seed": plan.seed,
        "data": {file: prepared.sha256[file] for file in ("hr.bin", *(f"x{scale}.bin" for scale in plan.scales))},
        "start": plan.start.sha256 if plan.start is not None else None,
        "distillation": plan.distillation,
    }
    teacher = _teacher(plan, process)
    progress = train(
        module,
        crops,
        validation_images(plan),
        plan.settings,
        plan.seed,
        checkpoint,
        identity,
        process,
        interruption,
        teacher,
        plan.distillation,
    )
    finished = progress.iteration == plan.settings.iterations
    interrupted = not finished and interruption is not None and interruption.asked
    if interrupted:
        return Trained(module, progress.history, None, finished, interrupted, progress.environment)
    record = TrainingRecord(
        iterations=progress.iteration,
        planned_iterations=plan.settings.iterations,
        stopped="finished" if finished else "max_minutes",
        loss=progress.history[-1]["loss"],
        psnr_y=progress.history[-1]["psnr_y"],
        seconds=round(progress.seconds, 2),
        cpu_seconds=round(progress.cpu_seconds, 2),
        images_per_second=round(progress.images / progress.seconds, 2),
        batch=plan.settings.batch,
        lr_patch=crops[0].size,
        scales=list(plan.scales),
        precision=plan.settings.precision,
        start=None if plan.start is None else plan.start.name,
        distillation=plan.distillation,
        seed=plan.seed,
        training_set=plan.training_set,
        validation_set=plan.validation_set,
        device=" and ".join(progress.devices),
        processes=process.count,
        threads=torch.get_num_threads(),
    )
    return Trained(module, progress.history, record, finished, interrupted, progress.environment)


def crop_sizes(plan: Plan) -> dict[int, int]:
    """Return the side of the crops of every scale, in LR pixels.

    Raises
    ------
    InputError
        If the scales cannot share a batch: its crops are of one HR size, and equally many of each scale.
    """
    sizes = {scale: plan.settings.patch.lr_size(scale) for scale in plan.scales}
    if len({scale * size for scale, size in sizes.items()}) > 1 or plan.settings.batch % len(sizes):
        raise InputError(
            f"params.yaml: train.{plan.model}: scales {', '.join(map(str, plan.scales))} share each batch; choose a "
            "batch that their number divides, and a patch size in HR pixels that each of them divides"
        )
    return sizes


def _crops(plan: Plan, prepared: PreparedSet, process: Process) -> list[Crops]:
    """Return the crops of every scale."""
    on_luma = NETWORKS[plan.model].on_luma
    return [Crops(prepared, scale, size, on_luma, process.device) for scale, size in crop_sizes(plan).items()]


def _teacher(plan: Plan, process: Process) -> nn.Module | None:
    """Return the float network whose outputs the network learns from, or None if the plan has no distillation."""
    if not plan.distillation or plan.start is None:
        return None
    teacher = build(plan.model, plan.scale, "float", **plan.overrides)
    teacher.load_state_dict(plan.start.state)
    return teacher.to(process.device)
