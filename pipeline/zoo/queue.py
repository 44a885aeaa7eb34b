"""What is trained for the zoo, in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from pipeline.errors import InputError
from pipeline.params import Params, Section
from pipeline.runs import Model, Run, Scale, Weights
from pipeline.training_run import Plan, Start

QUEUE = Path("conf", "queue.yaml")


class Entry(Section):
    """One training: a network of a profile, and in what it differs from the profile where it does.

    Attributes
    ----------
    variant : str
        Tells it from others of the same network in its name.
    twin : str
        The variant of the float network that it starts from.
    start : {"scratch", "float"}, optional
        A float network that starts from a float one is trained on as its binary twin is: the control of what the
        further training brings without binarization.
    """

    model: Model
    scale: Scale
    weights: Weights
    variant: Annotated[str, Field(pattern="^[a-z0-9]*$")] = ""
    twin: str = ""
    seed: Annotated[int, Field(ge=0)] | None = None
    scale_rule: Literal["learnable", "analytic", "none"] | None = None
    scope: Literal["blocks", "all"] | None = None
    start: Literal["scratch", "float"] | None = None
    distillation: Annotated[float, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _starts_from_another(self) -> Entry:
        if self.distillation and (self.weights == "float" or self.start != "float"):
            raise ValueError("distillation: takes the float twin as its teacher; write weights: binary, start: float")
        if self.weights == "float" and self.start == "float" and self.variant == self.twin:
            raise ValueError("variant: a float network that starts from another one needs a variant of its own")
        return self

    @property
    def run(self) -> Run:
        return Run(self.model, self.scale, self.weights, self.variant)

    @property
    def _control(self) -> bool:
        return self.weights == "float" and self.start == "float"

    def starts_from(self, params: Params) -> Run | None:
        """The float run whose weights this one starts from."""
        start = self.start or params.training(self.model, self.weights).start
        return Run(self.model, self.scale, "float", self.twin) if start == "float" else None

    def applies(self, params: Params) -> bool:
        """Whether it is another training than that of the same network without its start.

        Where a profile's binary networks start from scratch, a variant that does so is none, and no float network has
        to be trained on for comparison.
        """
        scratch = self.weights == "binary" and self.start == "scratch"
        return not (scratch or self._control) or params.training(self.model, "binary").start == "float"

    def plan(self, params: Params, start: Start | None) -> Plan:
        """How it is trained under a profile's params."""
        settings = params.training(self.model, "binary" if self._control else self.weights)
        changes: dict[str, Any] = {} if self.start is None else {"start": self.start}
        if self.start == "scratch" and settings.start == "float":  # as many iterations as the two trainings together
            changes["iterations"] = settings.iterations + params.training(self.model, "float").iterations
        if self._control or self.start == "scratch":  # no teacher
            changes["distillation"] = 0.0
        if self.distillation is not None:
            changes["distillation"] = self.distillation
        settings = settings.model_copy(update=changes)
        overrides: dict[str, Any] = params.overrides(self.model, self.weights)
        if self.weights == "binary":
            overrides |= {"scale_rule": self.scale_rule} if self.scale_rule else {}
            overrides |= {"scope": self.scope} if self.scope else {}
        return Plan(
            self.model,
            self.scale,
            self.weights,
            overrides,
            settings,
            params.seed if self.seed is None else self.seed,
            params.data.train,
            params.data.validation,
            params.data.validation_images,
            start,
        )


def load_queue(path: Path = QUEUE) -> list[Entry]:
    """Read the queue.

    Raises
    ------
    InputError
        If the file cannot be read, a field is wrong, or two entries have one name.
    """
    try:
        entries = TypeAdapter(list[Entry]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise InputError(f"{path}: {where}: {first['msg']}; mend it there") from error
    seen: set[str] = set()
    for entry in entries:
        if entry.run.name in seen:
            raise InputError(f"{path}: {entry.run.name} comes twice; give one a variant")
        seen.add(entry.run.name)
    return entries
