"""Networks whose every tensor is random, saved to a file, for comparing the engine with PyTorch."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.models import build
from pipeline.packing import load, save


def save_random(
    path: Path, model: str, scale: int = 2, weights: str = "binary", metadata: dict | None = None,
    float_dtype: str = "float32", **overrides: Any,
) -> nn.Module:  # fmt: skip
    """Save a random network and give it as PyTorch loads it, in float64.

    Scales and slopes have both signs and one scale is zero; filters are scaled to keep activations of order 1.
    """
    torch.manual_seed(0)
    module = build(model, scale, weights, **overrides)
    state = module.state_dict()
    for name, value in state.items():
        if name.endswith("running_var"):
            value.copy_(0.5 + torch.rand_like(value))
        elif value.ndim == 4:
            value.copy_(torch.randn_like(value) / value[0].numel() ** 0.5)
        elif name.endswith("alpha"):
            value.copy_(torch.randn_like(value) / state[name.replace("alpha", "weight")][0].numel() ** 0.5)
            value[0] = 0
        elif value.is_floating_point():
            value.copy_(torch.randn_like(value) / 2)
    save(module, path, metadata or {}, float_dtype)
    return load(path).double()
