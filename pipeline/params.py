"""The schema of params.yaml: every parameter of a run, checked as a whole before anything runs.

Nothing has a default here: params.yaml is resolved, so that it shows the value of every parameter and
`dvc params diff` every change.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator, model_validator
from pydantic_core import ErrorDetails

from pipeline.data.registry import dataset
from pipeline.errors import InputError
from pipeline.networks import NETWORKS
from pipeline.program import run_program
from pipeline.runs import Model, Scale, Weights

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Matrix(Section):
    """What is trained and compared: every model at every scale, float and binary."""

    models: Annotated[list[Model], Field(min_length=1)]
    scales: Annotated[list[Scale], Field(min_length=1)]

    @model_validator(mode="after")
    def _unique(self) -> Matrix:
        for name, values in (("models", self.models), ("scales", self.scales)):
            if len(set(values)) != len(values):
                raise ValueError(f"{name} has an entry twice")
        return self


class Data(Section):
    """Image sets, by their names in the registry."""

    mirror: str | None  # a folder or URL prefix that is tried before the public addresses
    sets: list[str]  # fetched and prepared
    train: str
    validation: str  # for validation during training; no weights are selected by it
    validation_images: Count  # number of its images that are used, from the first
    test: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def _known(self) -> Data:
        for name in self.sets:
            try:
                dataset(name)
            except InputError as error:
                raise ValueError(str(error)) from error
        for field, names in (("train", [self.train]), ("validation", [self.validation]), ("test", self.test)):
            if missing := [name for name in names if name not in self.sets]:
                raise ValueError(f"{field}: {missing[0]} is not in data.sets; add it there")
        if len(set(self.sets)) != len(self.sets):
            raise ValueError("sets has an entry twice")
        return self


def _section(name: str, fields: Mapping[str, Any]) -> Any:
    """Return a section whose fields follow from the table of networks."""
    required: dict[str, Any] = {field: (kind, ...) for field, kind in fields.items()}
    return create_model(name, __base__=Section, **required)


def _at_least(least: float) -> Any:
    return Annotated[int, Field(ge=least)] if isinstance(least, int) else Annotated[float, Field(gt=least)]


_SIZES = {
    model: _section(facts.title, {name: _at_least(least) for name, least in facts.sizes.items()})
    for model, facts in NETWORKS.items()
}
_Network: Any = _section("Network", _SIZES)


class Network(_Network):
    """Arguments of the networks in `pipeline.models`, those that `pipeline.networks` names for each."""


class Binarize(Section):
    """How filters are binarized, for every binary network."""

    scale_rule: Literal["learnable", "analytic", "none"]
    scope: Literal["blocks", "all"]


class Patch(Section):
    """Side of the square training crops, in pixels of the HR or of the LR image."""

    size: Count
    of: Literal["hr", "lr"]

    def lr_size(self, scale: int) -> int:
        """Return the side in LR pixels; an HR side is rounded down to a multiple of the scale."""
        return self.size if self.of == "lr" else self.size // scale


class Schedule(Section):
    """How the learning rate decays.

    It is multiplied by `factor` every `every` iterations, or falls to 0 along a half cosine or linearly, after it was
    constant for the share `flat` of the iterations.
    """

    kind: Literal["constant", "step", "cosine", "linear"]
    every: Count
    factor: Annotated[float, Field(gt=0, le=1)]
    flat: Annotated[float, Field(ge=0, lt=1)]


class Clip(Section):
    """Gradient clipping: by the norm of all gradients, or (VDSR) each value to ±limit / learning rate."""

    kind: Literal["none", "norm", "value_over_rate"]
    limit: Positive


class Training(Section):
    """How a network is trained, with float and with binary filters alike.

    Only `latent_rate` concerns one of the two: the factor by which the latent filters of a binary network learn faster.
    """

    iterations: Count
    batch: Count
    patch: Patch
    loss: Literal["l1", "mse", "half_sse"]  # half_sse (VDSR): summed over a crop, averaged over the batch
    optimizer: Literal["muon", "adam", "sgd"]  # muon: for filters of 32 inputs and outputs or more; Adam for the rest
    momentum: Annotated[float, Field(ge=0, lt=1)]  # of Muon and SGD; Adam has betas 0.9 and 0.999
    learning_rate: Positive
    latent_rate: Positive
    weight_decay: Annotated[float, Field(ge=0)]  # none for latent filters, of which only the signs count
    schedule: Schedule
    clip: Clip
    ema: Annotated[float, Field(ge=0, lt=1)]  # decay of the averaged weights; 0: no averaging
    precision: Literal["float32", "bfloat16"]
    validate_every: Count
    checkpoint_every: Count
    max_minutes: Positive | None  # stops cleanly with a checkpoint; a rerun resumes from it


_Train: Any = _section("Train", dict.fromkeys(NETWORKS, Training))


class Train(_Train):
    """How each network is trained."""


class Export(Section):
    float_dtype: Literal["float32", "float16"]  # of everything but the packed bits
    calibration_images: Count  # crops of the training set that set the activations' ranges
    calibration_crop: Count  # side of those crops, LR pixels
    # Candidate ranges, by the percentage of a layer's input that lies within; the one that loses least is kept.
    calibration_percentiles: Annotated[list[Annotated[float, Field(gt=50, le=100)]], Field(min_length=1)]


class Benchmark(Section):
    """Time and size, which do not depend on training: measured on untrained networks of these sizes."""

    network: Network
    lr_height: Count
    lr_width: Count
    sizes: Annotated[list[Annotated[int, Field(ge=16)]], Field(min_length=1)]  # sides of further, square LR images
    threads: Count
    repeats: Annotated[int, Field(ge=3)]
    seconds: Positive  # a backend whose repeats have taken this long is not repeated further, after three at least

    @field_validator("sizes")
    @classmethod
    def _ascending(cls, sizes: list[int]) -> list[int]:
        if sizes != sorted(set(sizes)):
            raise ValueError("must ascend, each once")
        return sizes


class Thresholds(Section):
    """The limits for a claim to count as replicated or partly replicated."""

    replicated: float
    partly: float


class Claims(Section):
    accuracy_gap_db: Thresholds  # float minus binary, dB of luma: at most
    size_reduction: Thresholds  # 1 - binary bytes / float bytes: at least
    speedup: Thresholds  # float time / binary time of the whole network: at least
    speedup_loss_db: Annotated[float, Field(ge=0)]  # engine modes that lose more luma by rounding do not count for it


class Report(Section):
    protocol: str | None  # the commit that froze the claims' limits and the profile cpu
    claims: Claims


class Cluster(Section):
    """How stages share a cluster, see `pipeline.cluster`; changes no result."""

    gpus_per_training: Annotated[float, Field(gt=0, le=1)]  # less than 1: several small networks share a GPU


class Params(Section):
    """Everything in params.yaml."""

    profile: str
    seed: Annotated[int, Field(ge=0)]
    matrix: Matrix
    data: Data
    network: Network
    binarize: Binarize
    train: Train
    export: Export
    benchmark: Benchmark
    cluster: Cluster
    report: Report

    def training(self, model: str) -> Training:
        """Return how a network is trained, with float and with binary filters alike."""
        training: Training = getattr(self.train, model)
        return training

    def overrides(self, model: str, weights: Weights) -> dict[str, Any]:
        """Return the arguments of `pipeline.models.build` besides model, scale and weights."""
        return self._arguments(self.network, model, weights)

    def benchmark_overrides(self, model: str, weights: Weights) -> dict[str, Any]:
        """Return the same arguments for the networks whose time and size are measured."""
        return self._arguments(self.benchmark.network, model, weights)

    def _arguments(self, network: Network, model: str, weights: Weights) -> dict[str, Any]:
        sizes: Section = getattr(network, model)
        return sizes.model_dump() | (self.binarize.model_dump() if weights == "binary" else {})

    def require(self, model: str, scale: int) -> None:
        """Raise an `InputError` if the matrix lacks the model or the scale."""
        if model not in self.matrix.models or scale not in self.matrix.scales:
            raise InputError(
                f"params.yaml: matrix: has no {model} at x{scale} (models: {', '.join(self.matrix.models)}; "
                f"scales: {', '.join(map(str, self.matrix.scales))}); add it there or name another"
            )


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check params.yaml.

    Raises
    ------
    InputError
        Naming every wrong, missing or unknown field.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; run from the repository's root") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_describe(details) for details in error.errors())
        raise InputError(f"{path}: {problems}; correct it there or in conf/") from error


def _describe(details: ErrorDetails) -> str:
    field = ".".join(str(part) for part in details["loc"]) or "the whole file"
    if details["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(details["loc"][-1]), _fields(details["loc"][:-1]), n=1)
        return f"{field}: unknown field" + (f", did you mean {near[0]}?" if near else "")
    if details["type"] == "missing":
        return f"{field}: missing"
    return f"{field}: {details['msg'].removeprefix('Value error, ')} (found {details['input']!r:.60})"


def _fields(location: tuple[int | str, ...]) -> list[str]:
    section: Any = Params
    for part in location:
        section = section.model_fields[part].annotation
        section = next((kind for kind in get_args(section) if isinstance(kind, type)), section)
    return list(section.model_fields)


def main() -> None:
    """Check params.yaml; print nothing if it is valid."""
    load_params()


if __name__ == "__main__":
    run_program(main)
