"""How long the stages of a profile take, from those that were measured: in proportion to their work.

The work of a training or an evaluation is the multiply-adds of its network; of other stages that read a set of images,
the bytes of its files.
"""

from __future__ import annotations

import math
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.cluster.coordinator import Graph
from pipeline.data.registry import dataset
from pipeline.models import build
from pipeline.networks import NETWORKS
from pipeline.params import Params, Training
from pipeline.reading import read_json
from pipeline.records import StageSeconds
from pipeline.runs import seconds_file
from pipeline.zoo.catalogue import read_index

TRAINING = "train"
BY_NETWORK = (TRAINING, "export", "evaluate", "benchmark")
BY_SET = ("prepare", "bicubic", "evaluate", "zoo")  # fetching is left out: it depends on the connection


@dataclass(frozen=True)
class Measured:
    """A stage whose duration is known.

    Attributes
    ----------
    group : str
        Its name in dvc.yaml.
    weights : str or None
        The filters of its network, if it has one.
    work, seconds : float
    """

    group: str
    weights: str | None
    work: float
    seconds: float


def measured_stages(graph: Graph, params: Params) -> list[Measured]:
    """Return the stages of the current folder's last run; none if it has not run."""
    measured = []
    for name in graph.names:
        path = seconds_file(name)
        if path.exists():
            seconds = read_json(path, StageSeconds).seconds
            measured.append(Measured(*_kind(graph, name), _work(graph, name, params), seconds))
    return measured


def published_trainings(zoo: Path, cores: int) -> list[Measured]:
    """Return the trainings of the published networks as on so many cores, where their record has processor time."""
    measured = []
    for network in read_index(zoo):
        record = network.training
        if record.get("cpu_seconds"):
            plan = record["plan"]
            rest = {"validate_every": 1, "checkpoint_every": 1, "max_minutes": None}  # which change no duration
            settings = Training.model_validate(plan["settings"] | rest)
            works = [_training_work(network.model, scale, plan["network"], settings) for scale in plan["scales"]]
            measured.append(Measured(TRAINING, network.weights, sum(works) / len(works), record["cpu_seconds"] / cores))
    return measured


def estimate(graph: Graph, params: Params, measured: Iterable[Measured], start: float) -> dict[str, float]:
    """Return the seconds of each stage.

    Each is that of the measured stage of its group (and of the same filters) whose work is nearest, in proportion to
    the work; of a group that was not measured, only the start.

    Parameters
    ----------
    graph : Graph
    params : Params
    measured : iterable of Measured
    start : float
        Seconds in which a stage's program starts.
    """
    measured = list(measured)
    seconds = {}
    for name in graph.names:
        (group, weights), work = _kind(graph, name), _work(graph, name, params)
        alike = [each for each in measured if (each.group, each.weights) == (group, weights)]
        seconds[name] = start
        if alike:
            nearest = min(alike, key=lambda each: abs(math.log(each.work / work)))
            seconds[name] += nearest.seconds * work / nearest.work
    return seconds


def start_seconds() -> float:
    """Measure how long the program of a stage takes to start."""
    before = time.perf_counter()
    subprocess.run([sys.executable, "-m", "stages.evaluate", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - before


def _options(graph: Graph, name: str) -> dict[str, str]:
    """Return the options of a stage's command, which are the coordinates of its matrix."""
    return dict(pair for pair in pairwise(shlex.split(graph.command(name, 1))) if pair[0].startswith("--"))


def _kind(graph: Graph, name: str) -> tuple[str, str | None]:
    return name.partition("@")[0], _options(graph, name).get("--weights")


def _work(graph: Graph, name: str, params: Params) -> float:
    group, options = name.partition("@")[0], _options(graph, name)
    work = 1.0
    if group in BY_SET:
        work *= sum(file.bytes for file in dataset(options["--set"]).files)
    if group in BY_NETWORK:
        model, scale = options["--model"], int(options["--scale"])
        if group == TRAINING:
            work *= _training_work(model, scale, params.overrides(model, "float"), params.training(model))
        elif group == "benchmark":
            timed = params.benchmark
            pixels = timed.lr_height * timed.lr_width * timed.repeats + sum(size**2 for size in timed.sizes)
            work *= pixels * _operations(model, scale, params.benchmark_overrides(model, "float"))
        else:  # of a set's HR pixels, each is the scale's square of an LR pixel
            work *= _operations(model, scale, params.overrides(model, "float")) / scale**2
    return work


def _training_work(model: str, scale: int, overrides: dict[str, Any], settings: Training) -> float:
    pixels = settings.batch * settings.patch.lr_size(scale) ** 2
    return settings.iterations * pixels * _operations(model, scale, overrides)


def _operations(model: str, scale: int, overrides: dict[str, Any]) -> float:
    """Return the operations of a network on one LR pixel: as many with binary filters as with float ones."""
    return _counted(model, scale, tuple(overrides.items()))


@cache
def _counted(model: str, scale: int, overrides: tuple[tuple[str, Any], ...]) -> float:
    side = 16
    with torch.device("meta"):
        network = build(model, scale=scale, weights="float", **dict(overrides))
        luma = NETWORKS[model].on_luma
        shape = (1, 1, scale * side, scale * side) if luma else (1, 3, side, side)
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(shape))
    return counter.get_total_flops() / side**2
