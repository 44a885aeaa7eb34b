"""A float network quantized to int8 for OpenVINO, for images of any size: what one could run without binarization."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pipeline.benchmark.backends import optional
from pipeline.benchmark.exports import Exports
from pipeline.benchmark.signal_stack import signal_stack_kept
from pipeline.upscaling import network_input, upscale_image

Image = NDArray[np.uint8]


def quantize(module: nn.Module, images: Sequence[Image], folder: Path) -> Path:
    """Quantize a float network, and return the file in `folder` that `openvino_int8` reads.

    Parameters
    ----------
    module : torch.nn.Module
        Made by `pipeline.models.build`.
    images : sequence of uint8, H×W×3 or H×W
        LR images from which the ranges of the activations are chosen.
    folder : Path

    Raises
    ------
    UnavailableError
        If a package that it needs is not installed.
    """
    config = cast(dict[str, Any], module.config)
    inputs = [network_input(image, config["model"], config["scale"]) for image in images]
    return Exports(module.eval(), inputs, folder).openvino_int8


def openvino_int8(path: Path, model: str, scale: int, threads: int) -> Callable[[Image], Image]:
    """Return the function that upscales an image, uint8, with a network that `quantize` wrote."""
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    with signal_stack_kept():
        compiled = optional("openvino").Core().compile_model(path, "CPU", settings)
    request = compiled.create_infer_request()

    def forward(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.array(request.infer({0: x[None]}, share_inputs=True)[0][0])

    return lambda image: upscale_image(forward, image, model, scale)
