"""Saving networks in one file: binary filters as packed bits, the rest in floating point, no pickle.

The file is safetensors. Each binary convolution ``<layer>`` is stored as ``<layer>.bits`` (see
`pipeline.packed.pack_bits`) and ``<layer>.alpha``; every other tensor keeps its name in the module's state. One
metadata key, ``binsr``, holds a JSON object: ``format`` (1), ``network`` (the arguments of `pipeline.models.build`),
``binary`` (layer to number of input channels) and ``metadata`` (what the caller adds, such as how it was trained).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.errors import InputError
from pipeline.models import build
from pipeline.models.binarize import BinaryConv2d
from pipeline.packed import FloatType, PackedNetwork, read, sizes, write
from pipeline.packed_rules import check_config
from pipeline.records import Footprint

COUNTER = "num_batches_tracked"  # of batch normalization in training


def pack(
    module: nn.Module, metadata: Mapping[str, Any] | None = None, float_type: FloatType = "float32"
) -> PackedNetwork:
    """Pack a network made by `pipeline.models.build`, in the form in which its file is read.

    The latent weights of binary convolutions are not kept: the loaded network computes the same outputs, but training
    can resume only from the weights that the training saved.

    Parameters
    ----------
    module : torch.nn.Module
    metadata : mapping, optional
        JSON values; `pipeline.engine` reads ``metadata["activations"]`` and ``metadata["mode"]``, see
        `pipeline.engine.calibration` and `pipeline.default_mode`.
    float_type : {"float32", "float16"}
        How everything but the binary filters is stored.

    Raises
    ------
    InputError
        If a number is too large for that.
    """
    binary: dict[str, np.ndarray] = {}
    tensors: dict[str, np.ndarray] = {}

    def keep(name: str, value: Tensor) -> None:
        given = value.detach().cpu().numpy()
        if np.abs(given).max(initial=0) > np.finfo(float_type).max:
            raise InputError(f"{name}: a number is too large for {float_type}; set export.float_dtype to float32")
        tensors[name] = np.ascontiguousarray(given.astype(float_type), np.float32)

    for name, layer in module.named_modules():
        if isinstance(layer, BinaryConv2d):
            binary[name] = np.ascontiguousarray((layer.weight.detach() >= 0).cpu().numpy())
            keep(f"{name}.alpha", layer.scale())
    for name, value in module.state_dict().items():
        if name.removesuffix(".weight") not in binary and name not in tensors and not name.endswith(COUNTER):
            keep(name, value)
    config: Any = module.config
    return PackedNetwork(dict(config), dict(metadata or {}), binary, tensors, float_type)


def unpack(packed: PackedNetwork) -> nn.Module:
    """Rebuild a network, in evaluation mode, with its ``config`` and ``metadata`` as attributes.

    Raises
    ------
    InputError
        If the tensors do not fit the network that it names.
    """
    known = check_config(packed.config, packed.shapes) | packed.config
    arguments = {name: value for name, value in known.items() if name != "model"}
    try:
        with torch.device("meta"):  # takes no memory
            _check_shapes(build(packed.config["model"], **arguments), packed)
        module = build(packed.config["model"], **arguments)
        state = {name: value for name, value in module.state_dict().items() if name.endswith(COUNTER)}
        state |= {name: torch.from_numpy(value) for name, value in packed.tensors.items()}
        for name, layer in module.named_modules():
            if isinstance(layer, BinaryConv2d):
                signs = torch.where(torch.from_numpy(packed.binary[name]), 1.0, -1.0)
                # Only the signs count, except with an analytic scale, which is the mean magnitude.
                alpha = state[f"{name}.alpha"] if layer.scale_rule == "learnable" else state.pop(f"{name}.alpha")
                analytic = layer.scale_rule == "analytic"
                state[f"{name}.weight"] = signs * alpha[:, None, None, None] if analytic else signs
        module.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the tensors do not fit the network it names ({reason}); save it again") from error
    module.metadata = packed.metadata  # type: ignore[assignment]  # the stubs know tensors and modules only
    return module.eval()


def _check_shapes(module: nn.Module, packed: PackedNetwork) -> None:
    """Check that a module's tensors have the shapes of a packed network's.

    Raises
    ------
    ValueError
        If not.
    """
    needed = {name: tuple(value.shape) for name, value in module.state_dict().items() if not name.endswith(COUNTER)}
    there = {name: value.shape for name, value in packed.tensors.items()}
    for name, layer in module.named_modules():
        if isinstance(layer, BinaryConv2d):
            needed[f"{name}.alpha"] = (layer.out_channels,)
            there[f"{name}.weight"] = packed.binary[name].shape
    if needed != there:
        name = min(name for name in needed.keys() | there.keys() if needed.get(name) != there.get(name))
        raise ValueError(f"{name}: shape {there.get(name)} instead of {needed.get(name)}")


def save(
    module: nn.Module, path: str | Path, metadata: Mapping[str, Any] | None = None, float_dtype: FloatType = "float32"
) -> int:
    """Write a network to a file: `pack`, then `pipeline.packed.write`; return the bytes written."""
    return write(pack(module, metadata, float_dtype), path)


def load(path: str | Path) -> nn.Module:
    """Rebuild a saved network: `pipeline.packed.read`, then `unpack`.

    Raises
    ------
    InputError
        If the file cannot be read or its tensors do not fit the network that it names.
    """
    packed = read(path)
    try:
        return unpack(packed)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def footprint(module: nn.Module, packed: PackedNetwork) -> Footprint:
    """Return the size of a network: the bytes of its packed file, and its parameters."""
    binary = [layer.weight for layer in module.modules() if isinstance(layer, BinaryConv2d)]
    return Footprint(
        **sizes(packed),
        parameters=sum(value.numel() for value in module.parameters()),
        binary_parameters=sum(value.numel() for value in binary),
    )
