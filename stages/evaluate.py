"""Evaluate one network on one test set: with PyTorch, and with the engine on the packed file."""

from __future__ import annotations

from pipeline.evaluation.backends import upscalers
from pipeline.params import load_params
from pipeline.runs import Run
from stages.arguments import Model, Scale, SetName, Weights
from stages.run import stage
from stages.scores import write_scores


def main(name: SetName, model: Model, scale: Scale, weights: Weights) -> None:
    run = Run(model, scale, weights)
    load_params().require(run.model, run.scale)
    write_scores(run.name, name, run.scale, upscalers(run.packed))


if __name__ == "__main__":
    stage(main)
