"""What is trained for the zoo, in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from pipeline.errors import InputError
from pipeline.networks import NETWORKS
from pipeline.params import Params, Section
from pipeline.runs import Model, Run, Scale, Weights
from pipeline.training.run import Plan, Start

QUEUE = Path("conf", "queue.yaml")


class Entry(Section):
    """One training: a network of a profile, and in what it differs from the profile where it does.

    Attributes
    ----------
    scales : list of int
        More than one for a network that is trained for all of them, and published once for each.
    variant : str
        Tells it from others of the same network in its name.
    length : float
        The share of the profile's iterations.
    source : str, optional
        The set of the registry that holds the float network, which is then imported, not trained.
    start : str, optional
        The variant of the float network whose weights it starts from; fresh weights by default.
    """

    model: Model
    scales: Annotated[list[Scale], Field(min_length=1)]
    weights: Weights
    variant: Annotated[str, Field(pattern="^[a-z0-9]*$")] = ""
    length: Annotated[float, Field(gt=0, le=1)] = 1.0
    source: Literal["VDSR"] | None = None
    start: str | None = None
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.0
    seed: Annotated[int, Field(ge=0)] | None = None
    scale_rule: Literal["learnable", "analytic", "none"] | None = None
    scope: Literal["blocks", "all"] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Entry:
        if len(self.scales) > 1 and not NETWORKS[self.model].on_luma:
            raise ValueError("scales: only a network on luma serves several; give the others an entry each")
        if self.distillation and self.start is None:
            raise ValueError("distillation: takes the network that was started from as its teacher; name it in start")
        if self.weights == "float" and self.start is not None:
            raise ValueError("start: a float network starts from fresh weights; leave it out")
        if self.source is not None and self.weights != "float":
            raise ValueError("source: is a float network; write weights: float")
        return self

    @property
    def name(self) -> str:
        """Names the training; that of its network where it has one scale."""
        scales = "".join(map(str, self.scales))
        return f"{self.model}-x{scales}-{self.weights}" + (f"-{self.variant}" if self.variant else "")

    @property
    def runs(self) -> list[Run]:
        """The networks that it gives, one for each scale."""
        return [Run(self.model, scale, self.weights, self.variant) for scale in self.scales]

    @property
    def starts_from(self) -> Run | None:
        """The float network whose weights it starts from."""
        return None if self.start is None else Run(self.model, self.scales[0], "float", self.start)

    def plan(self, params: Params, start: Start | None) -> Plan:
        """How it is trained under a profile's params."""
        settings = params.training(self.model)
        if self.length < 1:
            settings = settings.model_copy(update={"iterations": max(1, round(self.length * settings.iterations))})
        overrides: dict[str, Any] = params.overrides(self.model, self.weights)
        if self.weights == "binary":
            overrides |= {"scale_rule": self.scale_rule} if self.scale_rule else {}
            overrides |= {"scope": self.scope} if self.scope else {}
        return Plan(
            self.model,
            tuple(self.scales),
            self.weights,
            overrides,
            settings,
            params.seed if self.seed is None else self.seed,
            params.data.train,
            params.data.validation,
            params.data.validation_images,
            start,
            self.distillation,
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
        raise InputError(f"{path}: {where}: {first['msg']}; correct it there") from error
    seen: set[str] = set()
    for name in (run.name for entry in entries for run in entry.runs):
        if name in seen:
            raise InputError(f"{path}: {name} comes twice; give one a variant")
        seen.add(name)
    return entries
