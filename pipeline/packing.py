"""Saving networks in one file: binary filters as packed bits, the rest in floating point, no pickle.

The file is safetensors. Each binary convolution ``<layer>`` is stored as ``<layer>.bits`` (see
`pipeline.packed.pack_bits`) and ``<layer>.alpha``; every other tensor keeps its name in the module's state. One
metadata key, ``binsr``, holds a JSON object: ``format`` (1), ``network`` (the arguments of `pipeline.models.build`),
``binary`` (layer to number of input channels) and ``metadata`` (what the caller says, such as how it was trained).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.numpy import save as serialized
from torch import nn

from pipeline.binarize import BinaryConv2d
from pipeline.errors import InputError
from pipeline.files import atomic
from pipeline.models import build
from pipeline.packed import BITS_SUFFIX, FORMAT, HEADER_KEY, pack_bits, read, sizes


def save(
    module: nn.Module,
    path: str | Path,
    metadata: dict[str, Any] | None = None,
    float_dtype: Literal["float32", "float16"] = "float32",
) -> int:
    """Write a network made by `pipeline.models.build` to `path`.

    The latent weights of binary convolutions are not kept: what is loaded again computes the same outputs, but to train
    further, keep the training's own weights.

    Parameters
    ----------
    module : torch.nn.Module
    path : str or Path
    metadata : dict, optional
        Whatever JSON can hold; `pipeline.engine` reads ``metadata["activations"]``, see `pipeline.calibration`.
    float_dtype : {"float32", "float16"}
        How everything but the binary filters is stored.

    Returns
    -------
    int
        Bytes written.
    """
    tensors: dict[str, np.ndarray] = {}
    binary: dict[str, int] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, BinaryConv2d):
            binary[name] = layer.in_channels
            tensors[name + BITS_SUFFIX] = pack_bits((layer.weight.detach() >= 0).cpu().numpy())
            tensors[f"{name}.alpha"] = layer.scale().detach().cpu().numpy().astype(float_dtype)
    for name, value in module.state_dict().items():
        if name.removesuffix(".weight") in binary or name in tensors or name.endswith("num_batches_tracked"):
            continue
        tensors[name] = value.detach().cpu().numpy().astype(float_dtype)
    header = {"format": FORMAT, "network": module.config, "binary": binary, "metadata": metadata or {}}
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    path = Path(path)
    with atomic(path) as temporary:
        temporary.write_bytes(serialized(tensors, {HEADER_KEY: json.dumps(header, sort_keys=True)}))
    return path.stat().st_size


def load(path: str | Path) -> nn.Module:
    """Rebuild a saved network, in evaluation mode, with its ``config`` and ``metadata`` as attributes.

    Raises
    ------
    InputError
        If the file cannot be read or its tensors do not fit the network that it names.
    """
    packed = read(path)
    try:
        module = build(packed.config["model"], **{k: v for k, v in packed.config.items() if k != "model"})
        state = {name: value for name, value in module.state_dict().items() if name.endswith("num_batches_tracked")}
        state |= {name: torch.from_numpy(value) for name, value in packed.tensors.items()}
        for name, layer in module.named_modules():
            if isinstance(layer, BinaryConv2d):
                signs = torch.where(torch.from_numpy(packed.binary[name]), 1.0, -1.0)
                # Only the signs count, but for an analytic scale, which is the magnitude's mean.
                alpha = state[f"{name}.alpha"] if layer.scale_rule == "learnable" else state.pop(f"{name}.alpha")
                state[f"{name}.weight"] = (
                    signs * alpha[:, None, None, None] if layer.scale_rule == "analytic" else signs
                )
        module.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: the tensors do not fit the network it names ({reason}); save it again") from error
    module.metadata = packed.metadata  # type: ignore[assignment]  # the stubs know of tensors and modules only
    return module.eval()


def footprint(module: nn.Module, path: str | Path) -> dict[str, Any]:
    """What a saved network takes: the bytes of `pipeline.packed.sizes`, and its ``parameters`` and
    ``binary_parameters`` (those that are one bit in the file).
    """
    binary = [layer.weight for layer in module.modules() if isinstance(layer, BinaryConv2d)]
    return sizes(path) | {
        "parameters": sum(value.numel() for value in module.parameters()),
        "binary_parameters": sum(value.numel() for value in binary),
    }
