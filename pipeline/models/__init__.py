"""The networks, in float and with binary filters."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal

from torch import nn

from pipeline.runs import MODELS, SCALES


def build(name: str, scale: int = 4, weights: Literal["float", "binary"] = "float", **overrides: Any) -> nn.Module:
    """Build a super-resolution network with fresh weights.

    Parameters
    ----------
    name : str
        One of `pipeline.runs.MODELS`.
    scale : {2, 3, 4}
    weights : {"float", "binary"}
        ``binary`` makes the convolutions in the residual blocks `pipeline.models.binarize.BinaryConv2d`.
    **overrides
        Arguments of the network's class (``channels``, ``blocks``, …) and of `pipeline.models.convolutions.
        convolutions` (``scale_rule``, ``scope``).

    Returns
    -------
    torch.nn.Module
        Maps float32 N×3×h×w RGB in [0, 1] to N×3×(scale·h)×(scale·w); a network on luma (see `pipeline.networks`) maps
        the N×1×H×W luma (over 255) of the bicubic image to the luma of the same size. Its ``config`` holds the
        arguments that rebuild it.

    Raises
    ------
    ValueError
        For an unknown network, scale or kind of weights.
    """
    if name not in MODELS:
        raise ValueError(f"unknown network {name!r}; choose from {', '.join(MODELS)}")
    if scale not in SCALES:
        raise ValueError(f"unknown scale {scale!r}; choose from {SCALES}")
    if weights not in ("float", "binary"):
        raise ValueError(f"unknown weights {weights!r}; choose float or binary")
    network = import_module(f"pipeline.models.{name}").Network
    module = network(scale=scale, weights=weights, **overrides)
    module.config = {"model": name, "scale": scale, "weights": weights, **overrides}
    return module
