"""Train the zoo's networks, one after the other, in the order of conf/queue.yaml.

Each call resumes where the last one stopped. SIGINT, SIGTERM and SIGHUP save and stop. A finished network is packed
into zoo/; the checkpoint of an unfinished one is in zoo/unfinished/<profile>/<name>/. `python -m pipeline.zoo.status`
shows their progress, and `python -m pipeline.cluster train --local 2` trains two at once.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # idle threads of PyTorch leave their cores to those of Numba sooner

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from torch import nn

from pipeline.data.download import fetch
from pipeline.data.prepared import ImagePair, PreparedSet
from pipeline.data.ready import ready
from pipeline.data.registry import dataset
from pipeline.errors import InputError
from pipeline.exporting import export
from pipeline.files import sweep, write_csv
from pipeline.importing import import_network
from pipeline.inference import channels_last
from pipeline.packing import load, pack, unpack
from pipeline.params import load_params
from pipeline.program import run_program
from pipeline.provenance import environment
from pipeline.runs import Run, prepared_folder, raw_folder
from pipeline.threads import set_threads
from pipeline.training.checkpoints import delete_checkpoint
from pipeline.training.distributed import Process, this_process
from pipeline.training.interruption import STOPPED, Interruption, interruptible
from pipeline.training.loop import validate
from pipeline.training.run import Plan, Start, Trained, train_planned, validation_images
from pipeline.zoo.catalogue import IMPORTED, ZOO, read_training
from pipeline.zoo.locks import claimed
from pipeline.zoo.queue import QUEUE_FILE, Entry, Queue, load_queue

FLOAT16_LOSS_DB = 0.005  # published in half precision unless it loses this much
SEVERAL = "python -m pipeline.cluster train --local 2"
LICENCES = {"VDSR": "MIT licence, © 2016 Zehao Huang"}


def train_queue(queue: Queue, process: Process, interruption: Interruption, minutes: float | None = None) -> list[str]:
    """Train the unfinished networks, until all are finished, `minutes` have passed or a signal interrupts.

    Returns
    -------
    list of str
        The trainings that are not finished.

    Raises
    ------
    InputError
        At the end, if a training failed or another process trains one of them.
    """
    machine, started = environment(), time.perf_counter()
    failed: dict[str, str] = {}
    while (entry := queue.next(failed)) is not None and not interruption.asked:
        left = None if minutes is None else minutes - (time.perf_counter() - started) / 60
        if left is not None and left <= 0:
            break
        with claimed(queue.lock_file(entry)) as acquired:
            if not acquired:
                failed[entry.name] = f"another process trains it; to train two at once, stop it and run: {SEVERAL}"
                break
            if queue.is_finished(entry):  # by another process, a moment ago
                continue
            try:
                if not _make(entry, queue, process, interruption, left, machine):
                    break
            except InputError as error:  # the others are still trained
                failed[entry.name] = str(error)
    if failed:
        raise InputError("; ".join(f"{name}: {reason}" for name, reason in failed.items()))
    return [entry.name for entry in queue.entries if not queue.is_finished(entry)]


def _make(
    entry: Entry,
    queue: Queue,
    process: Process,
    interruption: Interruption,
    minutes: float | None,
    machine: dict[str, Any],
) -> bool:
    """Import or train the networks of an entry and pack them; return False if the training was stopped early."""
    if entry.source is not None:
        _import(entry, queue, machine)
        return True
    start = None
    if entry.starts_from is not None:
        path = queue.file(entry.starts_from)
        start = Start(entry.starts_from.name, sha256(path.read_bytes()).hexdigest(), load(path).state_dict())
    plan = entry.plan(queue.params, start)
    records = {run: queue.plan_record(entry, run) for run in entry.runs}  # before the start can be replaced
    for run in entry.runs:
        _keep_longer(queue, run, plan)
    print(f"{entry.name}: {plan.settings.iterations:,} iterations", flush=True)
    limited = plan.settings.model_copy(update={"max_minutes": minutes})
    checkpoint = queue.state_folder(entry)
    sweep([checkpoint])
    trained = train_planned(replace(plan, settings=limited), checkpoint, process, interruption)
    if not trained.finished:
        return False
    _publish(trained, entry, plan, records, queue)
    delete_checkpoint(checkpoint)
    return True


def _keep_longer(queue: Queue, run: Run, plan: Plan) -> None:
    """Refuse to replace a network by one of another profile with fewer iterations."""
    path, profile = queue.file(run), queue.params.profile
    if not path.exists():
        return
    existing = read_training(path)
    if existing["plan"]["profile"] != profile and existing.get("iterations", 0) > plan.settings.iterations:
        raise InputError(
            f"{path}: was trained for {existing['iterations']:,} iterations with profile "
            f"{existing['plan']['profile']}, and profile {profile} would replace it after only "
            f"{plan.settings.iterations:,}; use profile {existing['plan']['profile']}, or move the file"
        )


def _import(entry: Entry, queue: Queue, machine: dict[str, Any]) -> None:
    """Fetch a network that others trained, and pack it without further training."""
    assert entry.source is not None
    source = dataset(entry.source)
    fetch(source, raw_folder(source.name), queue.params.data.mirror)
    file, plan = source.files[0], entry.plan(queue.params, None)
    for run in entry.runs:
        module = import_network(raw_folder(source.name) / file.name, entry.model, run.scale)
        images = validation_images(replace(plan, scales=(run.scale,)))
        training = {
            "variant": entry.variant,
            "plan": queue.plan_record(entry, run),
            IMPORTED: {
                "file": file.name,
                "sha256": file.sha256,
                "address": source.addresses[0].format(file=file.name),
                "licence": LICENCES[source.name],
            },
            "validation_set": plan.validation_set,
            "psnr_y": validate(module, images),
            "environment": machine,
        }
        _pack(module, run, training, images, plan, queue)


def _publish(trained: Trained, entry: Entry, plan: Plan, records: Mapping[Run, dict[str, Any]], queue: Queue) -> None:
    """Pack a trained network into the zoo, once for each of its scales."""
    assert trained.record is not None
    for run, planned in records.items():
        module: Any = trained.module.cpu()
        module.config = {**module.config, "scale": run.scale}
        record = {
            "variant": entry.variant,
            "plan": planned,
            "environment": trained.environment,
        }
        write_csv(queue.zoo / "history" / f"{run.name}.csv", trained.history)
        images = validation_images(replace(plan, scales=(run.scale,)))
        _pack(module, run, asdict(trained.record) | record, images, plan, queue)


def _pack(
    module: nn.Module, run: Run, training: dict[str, Any], images: list[ImagePair], plan: Plan, queue: Queue
) -> None:
    """Write a network's file, in half precision where that costs nothing."""
    loss = validate(module, images) - validate(channels_last(unpack(pack(module, float_type="float16"))), images)
    training = training | {"float16_loss_db": round(float(np.maximum(loss, 0)), 5)}
    dtype: Any = "float16" if loss < FLOAT16_LOSS_DB else "float32"
    training_set = PreparedSet.open(prepared_folder(plan.training_set))
    export(module, queue.file(run), {"training": training}, queue.params.export, dtype, training_set, images, plan.seed)


def main(
    params_file: Annotated[
        Path, typer.Option("--params", help="A whole params file, as python -m pipeline.profiles writes it.")
    ] = Path("zoo", "cpu.yaml"),
    queue_file: Annotated[Path, typer.Option("--queue", help="What to train.")] = QUEUE_FILE,
    zoo: Annotated[Path, typer.Option(help="Where it is published.")] = ZOO,
    minutes: Annotated[float | None, typer.Option(help="Stop cleanly after this time.")] = None,
    threads: Annotated[int | None, typer.Option(help="Number of threads. Default: every core.")] = None,
    only: Annotated[
        str | None, typer.Option(metavar="NAME", help="Train this one; what it starts from must exist.")
    ] = None,
) -> None:
    for name, value in (("--minutes", minutes), ("--threads", threads)):
        if value is not None and value <= 0:
            raise InputError(f"{name}: {value:g}; choose a positive number")
    queue = Queue(load_queue(queue_file), load_params(params_file), zoo)
    if only is not None:
        chosen = next((entry for entry in queue.entries if entry.name == only), None)
        if chosen is None:
            raise InputError(f"--only: {queue_file} has no training {only}; choose one that `make status` names")
        if not queue.has_start(chosen):
            raise InputError(f"--only: {only}: starts from a network that is not trained yet; train that first")
        queue = replace(queue, entries=[chosen])
    queue.check()
    sweep((zoo, zoo / "history", zoo / "unfinished"))
    data = queue.params.data
    for name in (data.train, data.validation):
        ready(name, data.mirror)
    if threads is not None:
        set_threads(threads)
    with this_process() as process, interruptible() as interruption:
        if process.count > 1:
            raise InputError(f"torchrun: the queue trains on one device; run: {SEVERAL}")
        left = train_queue(queue, process, interruption, minutes)
    print(f"still to be trained: {', '.join(left)}" if left else "all trained")
    if only is not None and left:
        sys.exit(STOPPED)


if __name__ == "__main__":
    run_program(main)
