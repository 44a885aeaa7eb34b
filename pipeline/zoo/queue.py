"""The queue of trainings for the zoo: what they are, and which are finished."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.data.registry import dataset
from pipeline.errors import InputError
from pipeline.networks import NETWORKS
from pipeline.params import Params, Section, changed_training
from pipeline.reading import checked, read_yaml
from pipeline.runs import Model, Run, Scale, ScaleRule, Scope, Weights
from pipeline.training.run import Plan, Start, crop_sizes, settings_record
from pipeline.zoo.catalogue import IMPORTED, read_training

QUEUE_FILE = Path("conf", "queue.yaml")


class Entry(Section):
    """One training: a network of a profile, and where its settings differ from the profile.

    Attributes
    ----------
    scales : list of int
        Several for one network that is trained for all of them and published once per scale.
    variant : str
        Part of the name that distinguishes it from other trainings of the same network.
    length : float
        Its iterations as a fraction of the profile's.
    train : dict
        Fields of the profile's `train` for this network that have other values here.
    source : str, optional
        The registry set with a float network to import instead of training one.
    start : str, optional
        The variant of the float network whose weights it starts from; None for fresh weights.
    """

    model: Model
    scales: Annotated[list[Scale], Field(min_length=1)]
    weights: Weights
    variant: Annotated[str, Field(pattern="^[a-z0-9]*$")] = ""
    length: Annotated[float, Field(gt=0, le=1)] = 1.0
    train: Annotated[dict[str, Any], Field(default_factory=dict)]
    source: Literal["VDSR"] | None = None
    start: str | None = None
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.0
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    scale_rule: ScaleRule | None = None
    scope: Scope | None = None

    @model_validator(mode="after")
    def _fits(self) -> Entry:
        if len(self.scales) > 1 and not NETWORKS[self.model].on_luma:
            raise ValueError("scales: only a network on luma can have several; write one entry per scale")
        if self.distillation and self.start is None:
            raise ValueError("distillation: needs a teacher, the network that training starts from; name it in start")
        if self.weights == "float" and self.start is not None:
            raise ValueError("start: a float network starts from fresh weights; leave it out")
        if self.source is not None and self.weights != "float":
            raise ValueError("source: must be a float network; write weights: float")
        return self

    @property
    def name(self) -> str:
        """The name of the training; with one scale, also that of its network."""
        scales = "".join(map(str, self.scales))
        return f"{self.model}-x{scales}-{self.weights}" + (f"-{self.variant}" if self.variant else "")

    @property
    def runs(self) -> list[Run]:
        """The networks that it produces, one per scale."""
        return [Run(self.model, scale, self.weights, self.variant) for scale in self.scales]

    @property
    def starts_from(self) -> Run | None:
        """The float network whose weights it starts from."""
        return None if self.start is None else Run(self.model, self.scales[0], "float", self.start)

    def plan(self, params: Params, start: Start | None) -> Plan:
        """Return the training plan, with a profile's params; an `InputError` names a wrong field of `train`."""
        settings = changed_training(params.training(self.model), self.train, f"queue entry {self.name}: train")
        if self.length < 1:
            settings = settings.model_copy(update={"iterations": max(1, round(self.length * settings.iterations))})
        overrides: dict[str, Any] = params.overrides(self.model, self.weights)
        if self.weights == "binary":
            overrides |= {"scale_rule": self.scale_rule} if self.scale_rule else {}
            overrides |= {"scope": self.scope} if self.scope else {}
        changes = {"overrides": overrides, "settings": settings, "start": start, "distillation": self.distillation}
        changes |= {} if self.seed is None else {"seed": self.seed}
        return Plan.of(params, self.model, tuple(self.scales), self.weights, **changes)


def load_queue(path: Path = QUEUE_FILE) -> list[Entry]:
    """Read the queue.

    Raises
    ------
    InputError
        If the file cannot be read, a field is invalid, or two entries have the same name.
    """
    at_least_one = Annotated[list[Entry], Field(min_length=1)]
    entries: list[Entry] = checked(at_least_one, read_yaml(path, "correct or restore it"), path, "correct it there")
    seen: set[str] = set()
    for name in (run.name for entry in entries for run in entry.runs):
        if name in seen:
            raise InputError(f"{path}: {name}: occurs twice; give one of the two a variant")
        seen.add(name)
    for entry in entries:
        if entry.starts_from is not None and entry.starts_from.name not in seen:
            raise InputError(f"{path}: {entry.name}: start: no entry trains {entry.starts_from.name}; correct it there")
    return entries


@dataclass(frozen=True)
class Queue:
    """The trainings of a queue with a profile's params, and the folder in which their networks are published."""

    entries: list[Entry]
    params: Params
    zoo: Path

    def check(self) -> None:
        """Raise an `InputError` for an entry that cannot be trained, before others are trained for days.

        A field of its `train` is wrong, or its scales cannot share a batch.
        """
        for entry in self.entries:
            plan = entry.plan(self.params, None)
            if entry.source is None:
                crop_sizes(plan)

    def file(self, run: Run) -> Path:
        """Return the file in which a network is published."""
        return self.zoo / f"{run.name}.safetensors"

    def state_folder(self, entry: Entry) -> Path:
        """Return the folder of the checkpoint of an unfinished training."""
        return self.zoo / "unfinished" / self.params.profile / entry.name

    def lock_file(self, entry: Entry) -> Path:
        """Return the lock file that a process holds while it makes the entry's networks."""
        return self.zoo / "unfinished" / f".{entry.name}.lock"

    def is_finished(self, entry: Entry) -> bool:
        """Return whether the zoo has the networks of this entry of the queue, trained by its plan."""
        if not self.has_start(entry) or not all(self.file(run).exists() for run in entry.runs):
            return False
        planned = {run: self.plan_record(entry, run) for run in entry.runs}
        return all(read_training(self.file(run))["plan"] == record for run, record in planned.items())

    def has_start(self, entry: Entry) -> bool:
        """Return whether the float network that the entry starts from, if any, exists and needs no new training."""
        start = entry.starts_from
        if start is None:
            return True
        queued = next((other for other in self.entries if start in other.runs), None)
        exist = all(self.file(replace(start, scale=run.scale)).exists() for run in entry.runs)
        return exist and (queued is None or self.is_finished(queued))

    def plan_record(self, entry: Entry, run: Run) -> dict[str, Any]:
        """Return what identifies a network as the planned one, in the form in which JSON returns it."""
        if entry.source is not None:
            files = dataset(entry.source).files
            return {"profile": IMPORTED, "start": None, "source": {file.name: file.sha256 for file in files}}
        plan, start = entry.plan(self.params, None), entry.starts_from
        settings = settings_record(plan.settings)
        del settings["validate_every"]
        if start is not None:
            start = replace(start, scale=run.scale)
        record = {
            "profile": self.params.profile,
            "network": plan.overrides,
            "scales": plan.scales,
            "settings": settings,
            "seed": plan.seed,
            "training_set": plan.training_set,
            "start": start and {"name": start.name, "sha256": sha256(self.file(start).read_bytes()).hexdigest()},
            "distillation": plan.distillation,
        }
        return json.loads(json.dumps(record))

    def next(self, failed: Collection[str]) -> Entry | None:
        """Return the first unfinished entry whose start exists, but for those that have failed."""
        ready = (entry for entry in self.entries if entry.name not in failed and self.has_start(entry))
        return next((entry for entry in ready if not self.is_finished(entry)), None)
