"""The names of runs and the paths of their files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pipeline.networks import NETWORKS

MODELS: tuple[str, ...] = tuple(NETWORKS)
Model = Literal[MODELS]  # type: ignore[valid-type]  # pydantic reads it
Scale = Literal[2, 3, 4]
Weights = Literal["float", "binary"]
ScaleRule = Literal["learnable", "analytic", "none"]  # of a binary filter, see `pipeline.models.binarize`
Scope = Literal["blocks", "all"]  # of binary filters, see `pipeline.models.convolutions`
Activations = Literal["auto", "float32", "int8", "int6", "int1"]  # of binary layers in the engine
FloatLayers = Literal["float32", "bfloat16", "int8"]
SCALES: tuple[int, ...] = get_args(Scale)


def is_brief(model: str, iterations: int) -> bool:
    """Return whether a network was trained for less than half the iterations of its paper."""
    return iterations < NETWORKS[model].iterations / 2


@dataclass(frozen=True)
class Run:
    """One network at one scale, with float or binary filters; `variant` tells apart networks that share these."""

    model: str
    scale: int
    weights: Weights
    variant: str = ""

    @property
    def name(self) -> str:
        return f"{self.model}-x{self.scale}-{self.weights}" + (f"-{self.variant}" if self.variant else "")

    @property
    def weights_file(self) -> Path:
        """Trained weights, with the latent filters of a binary network."""
        return Path("models", f"{self.name}.safetensors")

    def checkpoint(self, profile: str) -> Path:
        """Return the folder of the checkpoint of an unfinished training, which one by another profile leaves alone."""
        return Path("checkpoints", profile, self.name)

    @property
    def history(self) -> Path:
        return Path("history", f"{self.name}.csv")

    @property
    def training_record(self) -> Path:
        return Path("results", "train", f"{self.name}.json")

    @property
    def packed(self) -> Path:
        return Path("packed", f"{self.name}.safetensors")

    @property
    def export_record(self) -> Path:
        return Path("results", "export", f"{self.name}.json")


def prepared_folder(name: str) -> Path:
    """Return the folder of the prepared image set `name`."""
    return Path("data", "prepared", name)


def raw_folder(name: str) -> Path:
    """Return the folder of the fetched images of the set `name`."""
    return Path("data", "raw", name)


def seconds_file(stage: str) -> Path:
    """Return the file of a stage's duration, by DVC's name for it, such as ``evaluate@Set5-edsr-2-float``."""
    return Path("results", "seconds", f"{stage}.json")
