"""Train the zoo's networks, one after the other, in the order of conf/queue.yaml.

Each call goes on where the last one stopped. A finished network is packed into zoo/; the state of one that is not
finished lies in zoo/unfinished/<profile>/<name>/. Several calls at once, on one GPU say, take different networks.
"""

from __future__ import annotations

import os

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic CUDA products need, before CUDA starts

import argparse
import fcntl
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from pipeline.checkpoints import delete_checkpoint
from pipeline.data.prepared import PreparedSet
from pipeline.data.ready import ready
from pipeline.distributed import Process, this_process
from pipeline.errors import InputError, one_line_errors
from pipeline.exporting import export
from pipeline.files import write_csv
from pipeline.inference import channels_last
from pipeline.packing import load, save
from pipeline.params import Params, load_params
from pipeline.provenance import environment
from pipeline.runs import Run, prepared_folder
from pipeline.training import validate
from pipeline.training_run import Plan, Start, Trained, settings_record, train_planned, validation_images
from pipeline.zoo.catalogue import ZOO, read_training
from pipeline.zoo.queue import QUEUE, Entry, load_queue

FLOAT16_LOSS_DB = 0.005  # published in half precision unless it costs as much


def train_queue(entries: list[Entry], params: Params, zoo: Path, process: Process, minutes: float | None) -> list[str]:
    """Train what is not finished, until all is or `minutes` have passed.

    Returns
    -------
    list of str
        The networks that are still to be trained.

    Raises
    ------
    InputError
        At the end, if some could not be trained.
    """
    here, started = environment(), time.perf_counter()
    entries = [entry for entry in entries if entry.applies(params)]
    busy: set[str] = set()
    failed: list[str] = []
    while (chosen := _next(entries, params, zoo, busy)) is not None:
        entry, plan = chosen
        left = None if minutes is None else minutes - (time.perf_counter() - started) / 60
        if left is not None and left <= 0:
            break
        name = entry.run.name
        checkpoint = zoo / "unfinished" / params.profile / name
        with _claimed(zoo / "unfinished", name) as mine:
            if not mine or is_finished(zoo, entry.run, plan, params):  # another process was faster
                busy.add(name)
                continue
            try:
                _keep_longer(zoo, entry.run, plan, params)
                print(f"{name}: {plan.settings.iterations} iterations", flush=True)
                limited = plan.settings.model_copy(update={"max_minutes": left})
                trained = train_planned(replace(plan, settings=limited), checkpoint, process)
            except InputError as error:  # one that diverges is no reason not to train the others
                failed.append(f"{name}: {error}")
                busy.add(name)
                continue
            if not trained.finished:
                break
            _publish(trained, entry, plan, params, zoo, here)
            delete_checkpoint(checkpoint)
    if failed:
        raise InputError("; ".join(failed))
    return [entry.run.name for entry in entries if not _is_trained(entry, entries, params, zoo)]


def is_finished(zoo: Path, run: Run, plan: Plan, params: Params) -> bool:
    """Whether the zoo has this run, trained by this plan."""
    path = zoo / f"{run.name}.safetensors"
    return path.exists() and read_training(path)["plan"] == _plan_record(plan, params)


def _keep_longer(zoo: Path, run: Run, plan: Plan, params: Params) -> None:
    """Refuse to replace a network by one that another profile trains for less long."""
    path = zoo / f"{run.name}.safetensors"
    if not path.exists():
        return
    held = read_training(path)
    if held["plan"]["profile"] != params.profile and held["iterations"] > plan.settings.iterations:
        raise InputError(
            f"{path}: trained for {held['iterations']:,} iterations as profile {held['plan']['profile']} says, which "
            f"{plan.settings.iterations:,} of {params.profile} would replace; take that profile, or move the file away"
        )


def _next(entries: list[Entry], params: Params, zoo: Path, busy: set[str]) -> tuple[Entry, Plan] | None:
    """The first run that is not finished, whose start is there."""
    for entry in entries:
        plan = None if entry.run.name in busy else _plan(entry, entries, params, zoo)
        if plan is not None and not is_finished(zoo, entry.run, plan, params):
            return entry, plan
    return None


def _is_trained(entry: Entry, entries: list[Entry], params: Params, zoo: Path) -> bool:
    plan = _plan(entry, entries, params, zoo)
    return plan is not None and is_finished(zoo, entry.run, plan, params)


def _plan(entry: Entry, entries: list[Entry], params: Params, zoo: Path) -> Plan | None:
    """How an entry is trained; None where the float network that it starts from is not there or to be trained anew."""
    twin = entry.starts_from(params)
    if twin is None:
        return entry.plan(params, None)
    path = zoo / f"{twin.name}.safetensors"
    queued = next((other for other in entries if other.run == twin), None)
    if not path.exists() or (queued is not None and not _is_trained(queued, entries, params, zoo)):
        return None
    return entry.plan(params, Start(twin.name, sha256(path.read_bytes()).hexdigest(), load(path).state_dict()))


def _plan_record(plan: Plan, params: Params) -> dict[str, Any]:
    """What makes a training the one that was planned, as it comes back from JSON."""
    settings = settings_record(plan.settings)
    del settings["validate_every"]
    record = {
        "profile": params.profile,
        "network": plan.overrides,
        "settings": settings,
        "seed": plan.seed,
        "training_set": plan.training_set,
        "start": None if plan.start is None else {"name": plan.start.name, "sha256": plan.start.sha256},
    }
    return json.loads(json.dumps(record))


def _publish(
    trained: Trained, entry: Entry, plan: Plan, params: Params, zoo: Path, environment: dict[str, Any]
) -> None:
    """Pack a trained network into the zoo, in half precision where that costs nothing."""
    module = trained.module.cpu()
    images = validation_images(plan)
    loss = validate(module, images) - validate(channels_last(_in_half_precision(module)), images)
    training = trained.record | {
        "variant": entry.variant,
        "plan": _plan_record(plan, params),
        "float16_loss_db": round(float(np.maximum(loss, 0)), 5),
        "environment": environment,
    }
    dtype: Any = "float16" if loss < FLOAT16_LOSS_DB else "float32"
    write_csv(zoo / "history" / f"{entry.run.name}.csv", trained.history)
    training_set = PreparedSet.open(prepared_folder(plan.training_set))
    path = zoo / f"{entry.run.name}.safetensors"
    export(module, path, {"training": training}, params.export, dtype, training_set, plan.seed)


def _in_half_precision(module: nn.Module) -> nn.Module:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "half.safetensors")
        save(module, path, float_dtype="float16")
        return load(path)


@contextmanager
def _claimed(folder: Path, name: str) -> Iterator[bool]:
    """Hold a run for this process, unless another one does; the system lets go when the process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{name}.lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="resolved params (default: %(default)s)"
    )
    parser.add_argument("--queue", type=Path, default=QUEUE, help="what to train (default: %(default)s)")
    parser.add_argument("--zoo", type=Path, default=ZOO, help="where it is published (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="stop cleanly after as many")
    arguments = parser.parse_args()
    if arguments.minutes is not None and arguments.minutes <= 0:
        raise InputError(f"--minutes: {arguments.minutes:g} is not positive")
    entries, params = load_queue(arguments.queue), load_params(arguments.params)
    for name in (params.data.train, params.data.validation):
        ready(name, os.environ.get("SR_MIRROR") or params.data.mirror)
    with this_process() as process:
        if process.count > 1:
            raise InputError("torchrun: the queue gives a network to each call; make several calls instead")
        left = train_queue(entries, params, arguments.zoo, process, arguments.minutes)
    print(f"still to be trained: {', '.join(left)}" if left else "all trained")


if __name__ == "__main__":
    with one_line_errors():
        main()
