"""The engine's default mode of a binary network: the first, in the order of expected speed, that loses little."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.prepared import ImagePair
from pipeline.engine.modes import MODES
from pipeline.engine.runner import Engine
from pipeline.metrics import bounded_psnr
from pipeline.packed import PackedNetwork

Image = NDArray[np.uint8]

MOST_LOSS_DB = 0.01
FASTEST_FIRST = ("engine_int6_all", "engine_int8_all", "engine_int6", "engine_int8")


def default_mode(packed: PackedNetwork, images: Sequence[ImagePair]) -> dict[str, Any]:
    """Choose the mode of a calibrated binary network by its accuracy on validation images.

    Parameters
    ----------
    packed : PackedNetwork
    images : sequence of pairs of uint8 arrays
        LR and HR images, none of which is a test image.

    Returns
    -------
    dict
        ``activations`` and ``float_layers`` of `Engine`: those of the first mode in `FASTEST_FIRST` that loses at most
        `MOST_LOSS_DB` of PSNR-Y, on the average of the images, to float32; and ``loss_db``. `pipeline.packing.save`
        takes it as ``metadata["mode"]``.
    """
    scale = packed.config["scale"]

    def quality(upscale: Callable[[Image], Image]) -> float:
        return float(np.mean([bounded_psnr(upscale(lr), hr, border=scale) for lr, hr in images]))

    exact = quality(Engine(packed, "float32").upscale)
    for name in FASTEST_FIRST:
        mode = {"activations": "float32", "float_layers": "float32", **MODES[name]}
        loss = exact - quality(Engine(packed, **mode).upscale)
        if loss <= MOST_LOSS_DB:
            return mode | {"loss_db": round(max(loss, 0.0), 4)}
    return {"activations": "float32", "float_layers": "float32", "loss_db": 0.0}
