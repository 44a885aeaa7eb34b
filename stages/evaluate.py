"""Evaluate one network on one test set: with PyTorch, and with the engine on the packed file."""

from __future__ import annotations

import argparse

from pipeline.evaluation.backends import upscalers
from pipeline.params import load_params
from stages.arguments import add_run, add_set, as_run
from stages.run import stage
from stages.scores import write_scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_run(parser)
    add_set(parser)
    arguments = parser.parse_args()
    run = as_run(arguments)
    load_params().require(run.model, run.scale)
    write_scores(run.name, arguments.set, run.scale, upscalers(run.packed))


if __name__ == "__main__":
    with stage():
        main()
