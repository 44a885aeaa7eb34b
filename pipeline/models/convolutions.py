"""Same-size convolutions, float or binary, by where they stand in a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from torch import nn

from pipeline.models.binarize import BinaryConv2d
from pipeline.runs import ScaleRule, Scope

MakeConv = Callable[..., nn.Conv2d]


def _float(inputs: int, outputs: int, size: int, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias)


def convolutions(
    weights: str, scale_rule: ScaleRule = "learnable", scope: Scope = "blocks"
) -> tuple[MakeConv, MakeConv]:
    """Makers of the convolutions inside and outside the residual blocks.

    Parameters
    ----------
    weights : {"float", "binary"}
    scale_rule
        See `pipeline.models.binarize.BinaryConv2d`.
    scope : {"blocks", "all"}
        Which convolutions are binary: those in the residual blocks (the paper), or every one.

    Returns
    -------
    inside, outside
        Each is called as ``make(inputs, outputs, size, bias=True)`` and pads to keep the image's size.
    """
    if scope not in get_args(Scope) or scale_rule not in get_args(ScaleRule):
        raise ValueError(f"unknown scope {scope!r} or scale rule {scale_rule!r}")

    def binary(inputs: int, outputs: int, size: int, bias: bool = True) -> nn.Conv2d:
        return BinaryConv2d(inputs, outputs, size, padding=size // 2, bias=bias, scale_rule=scale_rule)

    if weights == "float":
        return _float, _float
    return binary, (binary if scope == "all" else _float)
