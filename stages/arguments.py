"""The command-line arguments that stages share."""

from __future__ import annotations

import argparse

from pipeline.runs import MODELS, SCALES, Run


def add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", required=True, help="name of an image set")


def add_scale(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scale", type=int, choices=SCALES, required=True)


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", choices=MODELS, required=True)


def add_run(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    add_scale(parser)
    parser.add_argument("--weights", choices=("float", "binary"), required=True)


def as_run(arguments: argparse.Namespace) -> Run:
    return Run(arguments.model, arguments.scale, arguments.weights)


def run_arguments(description: str | None) -> Run:
    """Read ``--model``, ``--scale`` and ``--weights`` from the command line."""
    parser = argparse.ArgumentParser(description=description)
    add_run(parser)
    return as_run(parser.parse_args())
