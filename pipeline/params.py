"""The schema of params.yaml: every parameter of a run, checked as a whole before anything runs.

Nothing has a default here: params.yaml is resolved, so that it shows the value of every parameter and
`dvc params diff` every change. What is accepted here runs: limits are those of the code, and beyond them, a thousand
times what anyone has trained.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import ErrorDetails

from pipeline.data.registry import dataset
from pipeline.errors import InputError
from pipeline.networks import NETWORKS
from pipeline.program import run_program
from pipeline.reading import checked, read_yaml
from pipeline.runs import Model, Scale, ScaleRule, Scope, Weights

T = TypeVar("T")

PROBLEMS_NAMED = 5
REMEDY = "correct it there or in conf/"


def _each_once(values: list[T]) -> list[T]:
    for i, value in enumerate(values):
        if value in values[:i]:
            raise ValueError(f"{value} occurs twice")
    return values


def _whole(value: object) -> object:
    """Refuse 2.0 for 2, which DVC would put into the names of stages."""
    if type(value) is not int:
        raise ValueError("should be a whole number")
    return value


Count = Annotated[int, Field(ge=1, le=10**9)]
Positive = Annotated[float, Field(gt=0, le=1e9)]
Rate = Annotated[float, Field(gt=0, le=1e3)]
Side = Annotated[int, Field(ge=16, le=4096)]  # pixels
WholeScale = Annotated[Scale, BeforeValidator(_whole)]
OneOrMore = Annotated[list[T], Field(min_length=1), AfterValidator(_each_once)]
Limit = Annotated[float, Field(ge=0, le=1e3)]
Commit = Annotated[str, Field(pattern="^[0-9a-f]{7,40}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Matrix(Section):
    """What is trained and compared: every model at every scale, float and binary."""

    models: OneOrMore[Model]
    scales: OneOrMore[WholeScale]


class Data(Section):
    """Image sets, by their names in the registry."""

    mirror: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$")] | None  # a folder or URL prefix, tried first
    sets: OneOrMore[str]  # fetched and prepared
    train: str
    validation: str  # for validation during training; no weights are selected by it
    validation_images: Count  # number of its images that are used, from the first
    test: OneOrMore[str]

    @model_validator(mode="after")
    def _known(self) -> Data:
        for name in self.sets:
            try:
                images = dataset(name).images
            except InputError as error:
                raise ValueError(str(error)) from error
            if not images:
                raise ValueError(f"sets: {name} has no images")
        for field, names in (("train", [self.train]), ("validation", [self.validation]), ("test", self.test)):
            if missing := [name for name in names if name not in self.sets]:
                raise ValueError(f"{field}: {missing[0]} is not in data.sets; add it there")
        for field, name in (("training", self.train), ("validation", self.validation)):
            if name in self.test:
                raise ValueError(f"test: {name} is the {field} set; test on other images")
        if self.validation_images > (there := dataset(self.validation).images):
            raise ValueError(f"validation_images: {self.validation_images} is more than {self.validation} has, {there}")
        return self


def _section(name: str, fields: Mapping[str, Any]) -> Any:
    """Return a section whose fields follow from the table of networks."""
    required: dict[str, Any] = {field: (kind, ...) for field, kind in fields.items()}
    return create_model(name, __base__=Section, **required)


def _size(least: float) -> Any:
    if isinstance(least, int):
        return Annotated[int, Field(ge=least, le=1024)]
    return Annotated[float, Field(gt=least, le=1e3)]


_SIZES = {
    model: _section(facts.title, {name: _size(least) for name, least in facts.sizes.items()})
    for model, facts in NETWORKS.items()
}
_Network: Any = _section("Network", _SIZES)


class Network(_Network):
    """Arguments of the networks in `pipeline.models`, those that `pipeline.networks` names for each."""


class Binarize(Section):
    """How filters are binarized, for every binary network."""

    scale_rule: ScaleRule
    scope: Scope


class Patch(Section):
    """Side of the square training crops, in pixels of the HR or of the LR image."""

    size: Annotated[int, Field(ge=2, le=4096)]
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

    Two things differ: latent filters have no weight decay, and `latent_rate` multiplies their learning rate.
    """

    iterations: Count
    batch: Annotated[int, Field(ge=1, le=4096)]
    patch: Patch
    loss: Literal["l1", "mse", "half_sse"]  # half_sse (VDSR): summed over a crop, averaged over the batch
    optimizer: Literal["muon", "adam", "sgd"]  # muon: for filters of 32 inputs and outputs or more; Adam for the rest
    momentum: Annotated[float, Field(ge=0, lt=1)]  # of Muon and SGD; Adam has betas 0.9 and 0.999
    learning_rate: Rate
    latent_rate: Rate
    weight_decay: Annotated[float, Field(ge=0, le=1)]  # none for latent filters, of which only the signs count
    schedule: Schedule
    clip: Clip
    ema: Annotated[float, Field(ge=0, lt=1)]  # decay of the averaged weights; 0: no averaging
    precision: Literal["float32", "bfloat16"]
    validate_every: Count
    checkpoint_every: Count
    max_minutes: Positive | None  # stops cleanly with a checkpoint; a rerun resumes from it


def changed_training(settings: Training, changes: Mapping[str, Any], where: str) -> Training:
    """Return settings with changes to some fields, of which those with fields of their own may name a part.

    Raises
    ------
    InputError
        If the result is not valid; names the field, after `where`, the file and entry with the changes.
    """
    values = settings.model_dump()
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(values.get(key), dict)
        values[key] = {**values[key], **value} if nested else value
    return checked(Training, values, where, "correct it there")


_Train: Any = _section("Train", dict.fromkeys(NETWORKS, Training))


class Train(_Train):
    """How each network is trained."""


class Export(Section):
    float_dtype: Literal["float32", "float16"]  # of everything but the packed bits
    calibration_images: Count  # crops of the training set that set the activations' ranges
    calibration_crop: Annotated[int, Field(ge=1, le=4096)]  # of those crops, LR pixels; a smaller image is taken whole
    # Candidate ranges, by the percentage of a layer's input that lies within; the one that loses least is kept.
    calibration_percentiles: OneOrMore[Annotated[float, Field(gt=50, le=100)]]


def _ascending(values: list[int]) -> list[int]:
    if values != sorted(values):
        raise ValueError("must ascend")
    return values


class Benchmark(Section):
    """Time and size, which do not depend on training: measured on untrained networks of these sizes."""

    network: Network
    lr_height: Side
    lr_width: Side
    sizes: Annotated[OneOrMore[Side], AfterValidator(_ascending)]  # of further, square LR images
    threads: Count  # as many as the machine has if it has fewer
    repeats: Annotated[int, Field(ge=3, le=1000)]
    seconds: Positive  # a backend whose repeats have taken this long is not repeated further, after three at least


class Thresholds(Section):
    """The limits for a claim to count as replicated or partly replicated."""

    replicated: Limit
    partly: Limit


class Claims(Section):
    accuracy_gap_db: Thresholds  # float minus binary, dB of luma: at most
    size_reduction: Thresholds  # 1 - binary bytes / float bytes: at least
    speedup: Thresholds  # float time / binary time of the whole network: at least
    speedup_loss_db: Limit  # engine modes that lose more luma by rounding do not count for it

    @model_validator(mode="after")
    def _ordered(self) -> Claims:
        if self.accuracy_gap_db.replicated > self.accuracy_gap_db.partly:
            raise ValueError("accuracy_gap_db: replicated is more than partly; the smaller gap is the better one")
        for name in ("size_reduction", "speedup"):
            limits: Thresholds = getattr(self, name)
            if limits.replicated < limits.partly:
                raise ValueError(f"{name}: replicated is less than partly; the larger value is the better one")
        return self


class Report(Section):
    protocol: Commit | None  # of the claims' limits and of the profile cpu, which it froze
    claims: Claims


class Cluster(Section):
    """How stages share a cluster, see `pipeline.cluster`; changes no result."""

    gpus_per_training: Annotated[float, Field(gt=0, le=1)]  # less than 1: several small networks share a GPU


class Params(Section):
    """Everything in params.yaml."""

    profile: Name
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    matrix: Matrix
    data: Data
    network: Network
    binarize: Binarize
    train: Train
    export: Export
    benchmark: Benchmark
    cluster: Cluster
    report: Report

    @model_validator(mode="after")
    def _crops_fit(self) -> Params:
        """Training crops have pixels for batch normalization's variance, and lie within every image of the set."""
        smallest = dataset(self.data.train).smallest_side
        for model in self.matrix.models:
            patch = self.training(model).patch
            for scale in self.matrix.scales:
                side = patch.lr_size(scale)
                if side < 2:
                    raise ValueError(f"train.{model}.patch.size: {patch.size} is less than 2 LR pixels at x{scale}")
                if smallest is not None and side > smallest // scale:
                    raise ValueError(
                        f"train.{model}.patch.size: {side} LR pixels at x{scale} are more than the smallest image of "
                        f"{self.data.train} has, {smallest // scale}"
                    )
        return self

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


def load_params(path: str | Path = "params.yaml", source: Path | None = None) -> Params:
    """Read and check params.yaml.

    Parameters
    ----------
    path : str or Path
    source : Path, optional
        The file that errors name, where the params were composed from it.

    Raises
    ------
    InputError
        Naming every wrong, missing or unknown field.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; run from the repository's root")
    values = read_yaml(path, REMEDY)
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        problems = [_describe(details) for details in error.errors()]
        more = f"; and {more} more" if (more := len(problems) - PROBLEMS_NAMED) > 0 else ""
        raise InputError(f"{source or path}: {'; '.join(problems[:PROBLEMS_NAMED])}{more}; {REMEDY}") from None


def _describe(details: ErrorDetails) -> str:
    field = ".".join(str(part) for part in details["loc"]) or "the whole file"
    if details["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(details["loc"][-1]), _fields(details["loc"][:-1]), n=1)
        return f"{field}: unknown field" + (f", did you mean {near[0]}?" if near else "")
    if details["type"] == "missing":
        return f"{field}: missing"
    said = details["msg"].removeprefix("Value error, ")
    if details["type"] == "value_error" and isinstance(details["input"], dict):  # of fields that the message names
        return ".".join([*map(str, details["loc"]), said])
    return f"{field}: {said} (found {_shown(details['input'])})"


def _shown(value: object) -> str:
    try:
        return f"{reprlib.repr(value):.60}"
    except ValueError:
        return "a number of thousands of digits"


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
