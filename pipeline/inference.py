"""Upscaling with PyTorch: the reference of `pipeline.engine.Engine.upscale`."""

from __future__ import annotations

import os
import shutil
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.upscaling import Depth, upscale_image


def channels_last(module: nn.Module) -> nn.Module:
    """Lay the filters out channels-last in place, which is what PyTorch's convolutions are fastest with."""
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs


def exact_float32() -> None:
    """Have a GPU compute in float32 what is in float32; by default its convolutions round their inputs to 11 bits."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def no_compiler() -> str | None:
    """Say why `torch.compile` cannot make code for this machine's CPU; None if it can."""
    compiler = os.environ.get("CXX", "g++")
    return None if shutil.which(compiler) else f"no C++ compiler: install {compiler}, or name yours in CXX"


def upscale(module: nn.Module, image: NDArray[Depth], scale: int | None = None) -> NDArray[Depth]:
    """Upscale an image with a network made by `pipeline.models.build`, on the device where the network lies.

    Parameters
    ----------
    module : torch.nn.Module
        Runs in evaluation mode; left in the mode in which it was given.
    image : uint8 or uint16, H×W×3 or H×W
    scale : {2, 3, 4}, optional
        Of a network that serves several (VDSR); by default that with which it was made.

    Returns
    -------
    of the image's type, (scale·H)×(scale·W)×3 or (scale·H)×(scale·W)

    Raises
    ------
    InputError
        If the image has another type or shape, or no pixel.
    """
    device = next(module.parameters()).device

    def forward(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        batch = torch.from_numpy(inputs)[None].to(device, memory_format=torch.channels_last)
        return module(batch)[0].float().cpu().contiguous().numpy()

    was_training = module.training
    module.eval()
    try:
        with torch.inference_mode():
            config = cast(dict[str, Any], module.config)
            return upscale_image(forward, image, config["model"], scale or config["scale"])
    finally:
        module.train(was_training)
