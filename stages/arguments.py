"""The command-line options that stages share."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline import runs

SetName = Annotated[str, typer.Option("--set", help="Name of an image set.")]
Model = Annotated[runs.Model, typer.Option()]
Scale = Annotated[runs.Scale, typer.Option()]
Weights = Annotated[runs.Weights, typer.Option()]
