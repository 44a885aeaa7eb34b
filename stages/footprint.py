"""Measure the packed files of the benchmark's networks, float and binary, at every scale; they need no training."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import get_args

from pipeline.files import write_json
from pipeline.models import build
from pipeline.packing import footprint, pack
from pipeline.params import load_params
from pipeline.runs import MODELS, SCALES, Run, Weights
from stages.run import stage


def main() -> None:
    params = load_params()
    measured = {}
    for run in (Run(m, s, w) for m in MODELS for s in SCALES for w in get_args(Weights)):
        module = build(run.model, run.scale, run.weights, **params.benchmark_overrides(run.model, run.weights))
        measured[run.name] = asdict(footprint(module, pack(module, float_type=params.export.float_dtype)))
    write_json(Path("results", "footprint.json"), measured)


if __name__ == "__main__":
    stage(main)
