"""The training loop: one file, read from top to bottom."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from pipeline.data.crops import Crops
from pipeline.data.prepared import ImagePair
from pipeline.errors import InputError
from pipeline.files import write_json
from pipeline.inference import channels_last, upscale
from pipeline.metrics import bounded_psnr
from pipeline.models.binarize import latent_filters
from pipeline.provenance import environment
from pipeline.training.checkpoints import PROGRESS, STATE, load_checkpoint, save_checkpoint
from pipeline.training.distributed import Process
from pipeline.training.interruption import Interruption
from pipeline.training.muon import Muon, suits_muon
from pipeline.training.winograd import winograd
from pipeline.upscaling import NotFiniteError

if TYPE_CHECKING:  # the loop itself needs no pydantic
    from pipeline.params import Training

CHECK_EVERY = 20  # iterations between looks at the losses and the clock: each waits for the GPU


def _half_sse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared error, summed over a crop and averaged over the batch (VDSR, section 4.2)."""
    return (outputs - targets).square().sum(dim=(1, 2, 3)).mean() / 2


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": nn.functional.l1_loss,
    "mse": nn.functional.mse_loss,
    "half_sse": _half_sse,
}


@dataclass
class Record:
    """The progress of a training: what its checkpoint holds besides the weights.

    ``history`` has a row for every validation: ``iteration``, ``loss`` (mean since the last row), ``learning_rate`` and
    ``psnr_y`` (mean over the validation images, dB). ``seconds``, ``cpu_seconds`` (of all threads of this process) and
    ``images`` add up over interrupted runs, and ``devices`` names those of all of them; ``environment`` is that of the
    last (see `pipeline.provenance.environment`).
    """

    iteration: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    images: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)  # since the last row of the history
    devices: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=environment)


def train(
    module: nn.Module,
    crops: Sequence[Crops],
    validation: Sequence[ImagePair],
    settings: Training,
    seed: int,
    checkpoint: Path,
    identity: dict[str, Any],
    process: Process,
    interruption: Interruption | None = None,
    teacher: nn.Module | None = None,
    distillation: float = 0.0,
) -> Record:
    """Train `module` in place; on return it holds the final weights (the averaged ones where EMA is on).

    The crops of an iteration depend on the seed and the iteration alone, so a run that is resumed from its checkpoint
    ends as an uninterrupted one, and processes that share a batch see the batch that one process would.

    Parameters
    ----------
    module : torch.nn.Module
        Made by `pipeline.models.build`, with its starting weights, on `process.device`.
    crops : sequence of Crops
        Those of the scales that share each batch, in equal parts.
    validation : sequence of (LR, HR) uint8 images
    settings : pipeline.params.Training
    seed : int
    checkpoint : Path
        A folder (see `training.checkpoints`), written every ``settings.checkpoint_every`` iterations and at the end;
        where it holds a checkpoint, the run goes on from it.
    identity : dict
        What identifies this run's checkpoint (values that JSON can hold); one of another identity is replaced.
    process : Process
    interruption : Interruption, optional
        When it is requested, the training saves and stops: at once, or within `CHECK_EVERY` iterations where several
        processes share it.
    teacher : torch.nn.Module, optional
        A float network, on `process.device`, whose outputs replace the targets in the share `distillation` of the
        loss (Hinton et al., 2015, for regression).
    distillation : float in [0, 1]

    Returns
    -------
    Record
        Fewer iterations than planned where it was interrupted, or ``settings.max_minutes`` ran out.

    Raises
    ------
    InputError
        When the loss, a weight or the output for a validation image is no longer finite, naming the iteration and the
        last good checkpoint.
    """
    started, cpu_started = time.perf_counter(), time.process_time()
    shares = process.part(settings.batch // len(crops))
    module = channels_last(module)
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(settings.ema)) if settings.ema else None
    if average is not None:
        average.update_parameters(module)  # the first call copies: the average begins with the starting weights
    averaged = module if average is None else average.module
    optimizers = make_optimizers(module, settings)
    if teacher is not None:
        teacher = channels_last(teacher).eval()
    criterion = LOSSES[settings.loss]
    record = _load(checkpoint, identity, module, averaged, optimizers, process) or Record()
    if record.iteration < settings.iterations:
        record.environment = environment()
    if process.device_name not in record.devices:
        record.devices.append(process.device_name)
    parallel: nn.Module = module
    if process.count > 1:
        if process.device.type == "cuda":
            parallel = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        parallel = DistributedDataParallel(parallel)
    seconds_before, cpu_seconds_before = record.seconds, record.cpu_seconds
    unread: list[Tensor] = []  # losses still on the device
    bar = tqdm(
        total=settings.iterations,
        initial=record.iteration,
        unit="it",
        mininterval=0.5 if sys.stderr.isatty() else 20,
        disable=not process.leads,
    )
    if record.history:
        bar.set_postfix(psnr=f"{record.history[-1]['psnr_y']:.2f}")

    module.train()
    stop = False
    while record.iteration < settings.iterations and not stop:
        rng = np.random.default_rng([seed, record.iteration])
        batches = [of_scale.batch(rng, settings.batch // len(crops), shares) for of_scale in crops]
        inputs, targets = (torch.cat(tensors) for tensors in zip(*batches, strict=True))
        rate = learning_rate(settings, record.iteration)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["factor"]

        inputs = inputs.contiguous(memory_format=torch.channels_last)
        in_bfloat16 = settings.precision == "bfloat16"
        with torch.autocast(process.device.type, torch.bfloat16, enabled=in_bfloat16), winograd(module):
            outputs = parallel(inputs)
        loss = criterion(outputs.float(), targets)
        if teacher is not None:
            teacher_loss = criterion(outputs.float(), _teacher_output(teacher, inputs, settings))
            loss = torch.lerp(loss, teacher_loss, distillation)
        module.zero_grad()
        loss.backward()
        clip_gradients(module, settings, rate)
        for optimizer in optimizers:
            optimizer.step()
        if average is not None:
            average.update_parameters(module)

        unread.append(loss.detach())
        record.iteration += 1
        record.images += settings.batch
        bar.update()

        last = record.iteration == settings.iterations
        validates = last or record.iteration % settings.validate_every == 0
        saves = last or record.iteration % settings.checkpoint_every == 0
        interrupted = interruption is not None and interruption.asked and not last
        alone = process.count == 1  # processes that share a batch must stop at the same iteration
        if not (validates or saves or (interrupted and alone) or record.iteration % CHECK_EVERY == 0):
            continue
        _read_losses(unread, record, module, checkpoint, process)
        record.seconds = seconds_before + time.perf_counter() - started
        record.cpu_seconds = cpu_seconds_before + time.process_time() - cpu_started
        minutes = (time.perf_counter() - started) / 60
        out_of_time = not last and process.any(settings.max_minutes is not None and minutes >= settings.max_minutes)
        stop = out_of_time or process.any(interrupted)
        bar.set_postfix(loss=f"{record.losses[-1]:.4f}" if record.losses else "", refresh=False)
        if validates or out_of_time:
            try:
                psnr_y = validate(averaged, validation)
            except NotFiniteError as error:
                raise _diverged("the output for a validation image", record.iteration, checkpoint) from error
            record.history.append(
                {
                    "iteration": record.iteration,
                    "loss": float(np.mean(record.losses)),
                    "learning_rate": rate,
                    "psnr_y": psnr_y,
                }
            )
            record.losses = []
            bar.set_postfix(loss=f"{record.history[-1]['loss']:.4f}", psnr=f"{record.history[-1]['psnr_y']:.2f}")
        if (saves or stop) and process.leads:
            _save(checkpoint, identity, module, averaged, optimizers, record)
        if process.leads:
            write_json(checkpoint / PROGRESS, progress(record, settings))
    bar.close()
    if average is not None:
        module.load_state_dict(averaged.state_dict())
    return record


@torch.no_grad()
def _teacher_output(teacher: nn.Module, inputs: Tensor, settings: Training) -> Tensor:
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
        return teacher(inputs).float()


def learning_rate(settings: Training, iteration: int) -> float:
    """Return the learning rate of an iteration, counted from 0."""
    schedule = settings.schedule
    if schedule.kind == "step":
        return settings.learning_rate * schedule.factor ** (iteration // schedule.every)
    falling = max(0.0, (iteration / settings.iterations - schedule.flat) / (1 - schedule.flat))
    if schedule.kind == "cosine":
        return settings.learning_rate * (1 + math.cos(math.pi * falling)) / 2
    if schedule.kind == "linear":
        return settings.learning_rate * (1 - falling)
    return settings.learning_rate


def make_optimizers(module: nn.Module, settings: Training) -> list[torch.optim.Optimizer]:
    """Return Adam, SGD, or Muon for the filters that suit it and Adam for the rest.

    Adam and Muon decay the weights directly, not by the gradient (Loshchilov and Hutter, 2019). Each group has a
    ``factor`` of the learning rate; latent filters are not decayed, since only their signs count.
    """
    latent = {id(weight) for weight in latent_filters(module)}

    def groups(parameters: list[nn.Parameter]) -> list[dict[str, Any]]:
        parts = ([p for p in parameters if id(p) not in latent], [p for p in parameters if id(p) in latent])
        decays, factors = (settings.weight_decay, 0.0), (1.0, settings.latent_rate)
        return [
            {"params": part, "weight_decay": decay, "factor": factor}
            for part, decay, factor in zip(parts, decays, factors, strict=True)
            if part
        ]

    parameters, rate = list(module.parameters()), settings.learning_rate
    if settings.optimizer == "sgd":
        return [torch.optim.SGD(groups(parameters), lr=rate, momentum=settings.momentum)]
    banks = [p for p in parameters if suits_muon(p)] if settings.optimizer == "muon" else []
    suited = {id(bank) for bank in banks}
    adam = torch.optim.AdamW(groups([p for p in parameters if id(p) not in suited]), lr=rate)
    return [Muon(groups(banks), lr=rate, momentum=settings.momentum), adam] if banks else [adam]


def clip_gradients(module: nn.Module, settings: Training, rate: float) -> None:
    """Clip gradients in place, by their norm or value by value (VDSR, section 3.2: to ±limit / learning rate)."""
    if settings.clip.kind == "norm":
        nn.utils.clip_grad_norm_(module.parameters(), settings.clip.limit)
    elif settings.clip.kind == "value_over_rate":
        nn.utils.clip_grad_value_(module.parameters(), settings.clip.limit / rate)


def validate(module: nn.Module, images: Sequence[ImagePair]) -> float:
    """Return the mean PSNR-Y in dB over the images, by the evaluation protocol."""
    levels = []
    for lr, hr in images:
        scale = hr.shape[0] // lr.shape[0]
        levels.append(bounded_psnr(upscale(module, lr, scale), hr, border=scale))
    return float(np.mean(levels))


def progress(record: Record, settings: Training) -> dict[str, Any]:
    """Return how far a training is, for `pipeline.zoo.status`: its iterations, seconds and last validation."""
    return {
        "iteration": record.iteration,
        "iterations": settings.iterations,
        "seconds": round(record.seconds, 1),
        "psnr_y": record.history[-1]["psnr_y"] if record.history else None,
    }


def _read_losses(unread: list[Tensor], record: Record, module: nn.Module, checkpoint: Path, process: Process) -> None:
    """Move the losses to the record; refuse one, or a weight, that is not finite."""
    losses = process.mean(torch.stack(unread)).tolist()
    first = record.iteration - len(losses)
    bad = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), None)
    if bad is not None:  # the same in all processes: they share the mean loss and the weights
        raise _diverged("the loss", first + bad + 1, checkpoint)
    if not all(bool(value.isfinite().all()) for value in module.state_dict().values()):
        raise _diverged("a weight", record.iteration, checkpoint)
    record.losses += losses
    unread.clear()


def _diverged(what: str, iteration: int, checkpoint: Path) -> InputError:
    there = (checkpoint / STATE).exists()
    last = f"the last good checkpoint is {checkpoint}" if there else "there is no checkpoint yet"
    return InputError(
        f"training: {what} is not finite at iteration {iteration}; {last}; "
        "lower the learning rate or clip the gradients in params.yaml"
    )


def _save(
    folder: Path,
    identity: dict[str, Any],
    module: nn.Module,
    averaged: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    record: Record,
) -> None:
    tensors = {f"module/{name}": value for name, value in module.state_dict().items()}
    if averaged is not module:
        tensors |= {f"averaged/{name}": value for name, value in averaged.state_dict().items()}
    for order, optimizer in enumerate(optimizers):
        for number, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer{order}/{number}/{name}": value for name, value in values.items()}
    save_checkpoint(folder, tensors, {"identity": identity, "record": asdict(record)})


def _load(
    folder: Path,
    identity: dict[str, Any],
    module: nn.Module,
    averaged: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    process: Process,
) -> Record | None:
    checkpoint = load_checkpoint(folder)
    if checkpoint is None:
        return None
    tensors, state = checkpoint
    if state["identity"] != json.loads(json.dumps(identity)):
        if process.leads:
            print(f"{folder} is of a run with other params or data; starting over", file=sys.stderr)
        return None
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = value
    module.load_state_dict(groups["module"])
    if averaged is not module:
        averaged.load_state_dict(groups["averaged"])
    for order, optimizer in enumerate(optimizers):
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in groups.get(f"optimizer{order}", {}).items():
            number, _, moment = name.partition("/")
            moments.setdefault(int(number), {})[moment] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    record = Record(**state["record"])
    if process.leads:
        print(f"going on from {folder} at iteration {record.iteration}", file=sys.stderr)
    return record
