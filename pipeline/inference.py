"""Upscaling with PyTorch: the reference of `pipeline.engine.Engine.upscale`."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.upscaling import upscale_image


def channels_last(module: nn.Module) -> nn.Module:
    """Lay the filters out channels-last in place, which is what PyTorch's convolutions are fastest with."""
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs


def upscale(module: nn.Module, rgb_uint8: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Upscale an 8-bit image with a network made by `pipeline.models.build`, on the device where the network lies.

    Parameters
    ----------
    module : torch.nn.Module
        Runs in evaluation mode; left in the mode in which it was given.
    rgb_uint8 : uint8, H×W×3 or H×W

    Returns
    -------
    uint8, (scale·H)×(scale·W)×3 or (scale·H)×(scale·W)

    Raises
    ------
    InputError
        If the image has another type or shape, or no pixel.
    """

    def forward(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        batch = torch.from_numpy(inputs)[None].to(device, memory_format=torch.channels_last)
        return module(batch)[0].float().cpu().contiguous().numpy()

    device = next(module.parameters()).device
    was_training = module.training
    module.eval()
    try:
        with torch.inference_mode():
            config = cast(dict[str, Any], module.config)
            return upscale_image(forward, rgb_uint8, config["model"], config["scale"])
    finally:
        module.train(was_training)
