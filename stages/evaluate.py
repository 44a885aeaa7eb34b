"""Evaluate one network on one test set: with PyTorch, and with the engine on the packed file."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from pipeline.engine import Engine
from pipeline.engine.runner import MODES
from pipeline.errors import one_line_errors
from pipeline.evaluation import Image
from pipeline.inference import channels_last, upscale
from pipeline.packing import load
from pipeline.params import load_params
from stages.arguments import add_run, add_set, as_run
from stages.scores import write_scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_run(parser)
    add_set(parser)
    arguments = parser.parse_args()
    run = as_run(arguments)
    params = load_params()
    params.require(run.model, run.scale)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = channels_last(load(run.packed).to(device))
    backends: dict[str, Callable[[Image], Image]] = {
        "torch": lambda image: upscale(module, image),
    }
    for name, arguments_of_mode in MODES.items():
        if run.weights == "binary" or name == "engine_float32":
            backends[name] = Engine.load(run.packed, **arguments_of_mode).upscale
    write_scores(run.name, arguments.set, run.scale, backends, params.evaluate.kept_images)


if __name__ == "__main__":
    with one_line_errors():
        main()
