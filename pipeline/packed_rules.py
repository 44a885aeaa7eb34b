"""What a packed file may say of its network: checked against its tensors before anything is built from it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.networks import NETWORKS
from pipeline.runs import SCALES, ScaleRule, Scope, Weights

CHOICES: Mapping[str, tuple[Any, ...]] = {
    "model": tuple(NETWORKS),
    "scale": SCALES,
    "weights": get_args(Weights),
    "scale_rule": get_args(ScaleRule),
    "scope": get_args(Scope),
}
MODE: Mapping[str, tuple[str, ...]] = {
    "activations": ("float32", "int8", "int6", "int1"),
    "float_layers": ("float32", "int8"),
}
BITS_SUFFIX = ".bits"  # of the name of a tensor of signs
REQUIRED = ("model", "scale", "weights")
LARGEST = 1e6  # of a number that is no count: beyond it, activations overflow
BLOCK = re.compile(r"blocks\.(0|[1-9]\d{0,5})\..+")
OUTSIDE_BLOCKS = {"blocks": 0, "layers": 2}  # convolutions that a size counts beside the blocks


def check_config(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Check the arguments of `pipeline.models.build` in a packed file.

    A size that the tensors show may be missing.

    Parameters
    ----------
    config : mapping
    shapes : mapping of str to tuple of int
        Of the file's tensors, by name; of filters (O, I, k, k).

    Returns
    -------
    dict
        The sizes of this network that the tensors show.

    Raises
    ------
    InputError
        If an argument is missing, unknown, of a wrong type, out of range, or does not fit the tensors.
    """
    if missing := [name for name in REQUIRED if name not in config]:
        raise InputError(f"network.{missing[0]}: missing; save the network again")
    for name, choices in CHOICES.items():
        value = config.get(name, choices[0])
        if type(value) is not type(choices[0]) or value not in choices:
            listed = ", ".join(map(str, choices))
            raise InputError(f"network.{name}: {value!r:.60} is unknown; use one of {listed}")
    sizes = NETWORKS[config["model"]].sizes
    if unknown := config.keys() - CHOICES.keys() - sizes.keys():
        raise InputError(
            f"network.{min(unknown)!s:.60}: is not an argument of {config['model']}; save the network again"
        )
    for name in sizes.keys() & config.keys():
        _check_size(name, config[name], sizes[name])
    blocks = {int(match[1]) for name in shapes if (match := BLOCK.fullmatch(name))}
    stray = [name for name in shapes if name.split(".")[0] == "blocks" and not BLOCK.fullmatch(name)]
    if stray or blocks != set(range(len(blocks))):
        shown_blocks = stray[0] if stray else sorted(blocks)
        raise InputError(f"blocks: {shown_blocks!s:.60}: numbers must run from 0 without gaps; save the network again")
    if "head.weight" not in shapes:
        raise InputError("head.weight: missing; save the network again")
    there = {size: len(blocks) + more for size, more in OUTSIDE_BLOCKS.items()}
    there["channels"] = shapes["head.weight"][0]
    shown = {name: there[name] for name in sizes.keys() & there.keys()}
    for name in config.keys() & shown.keys():
        if config[name] != shown[name]:
            raise InputError(f"network.{name}: {config[name]} where the tensors have {shown[name]}; save it again")
    return shown


def check_tensors(tensors: Mapping[str, NDArray[Any]]) -> None:
    """Check that tensors hold finite numbers of the types that a packed file has.

    Raises
    ------
    InputError
        If one is empty, of another type, or not finite.
    """
    float_types = set()
    for name, value in tensors.items():
        bits = name.endswith(BITS_SUFFIX)
        if value.dtype not in ((np.uint8,) if bits else (np.float16, np.float32)):
            raise InputError(f"{name}: is {value.dtype}; a packed file has uint8 for bits, else float16 or float32")
        float_types |= set() if bits else {value.dtype}
        if len(float_types) > 1:
            raise InputError(f"{name}: is {value.dtype}, unlike the tensors before it; save the network again")
        if value.size == 0 or value.ndim > 4:
            raise InputError(f"{name}: shape {value.shape}; save the network again")
        if not np.isfinite(value).all():
            raise InputError(f"{name}: has numbers that are not finite; train the network again")


def check_binary(inputs: Mapping[str, Any]) -> None:
    """Check the numbers of input channels of the binary convolutions.

    Raises
    ------
    InputError
        If one is no whole number above zero.
    """
    for layer, count in inputs.items():
        if type(count) is not int or count < 1:
            raise InputError(f"binary.{layer:.60}: {count!r:.60} is not a number of channels; save the network again")


def check_mode(mode: Any) -> None:
    """Check ``metadata["mode"]``, the engine's default mode (see `pipeline.default_mode`), which a file may lack.

    Raises
    ------
    InputError
        If it is no mode.
    """
    if mode is None:
        return
    if not isinstance(mode, dict):
        raise InputError(f"metadata.mode: {mode!r:.60} is not a JSON object; export the network again")
    for name, choices in MODE.items():
        value = mode.get(name)
        if not isinstance(value, str) or value not in choices:
            listed = ", ".join(choices)
            raise InputError(f"metadata.mode.{name}: {value!r:.60} is unknown; export again, for one of {listed}")
    if not finite(mode.get("loss_db")):
        raise InputError(
            f"metadata.mode.loss_db: {mode.get('loss_db')!r:.60} is not a number; export the network again"
        )


def finite(value: Any) -> bool:
    """Return whether a JSON value is a number that float32 can hold."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and -float(np.finfo(np.float32).max) <= value <= float(np.finfo(np.float32).max)


def _check_size(name: str, value: Any, least: float) -> None:
    if isinstance(least, int):
        fits = type(value) is int and value >= least
    else:
        fits = finite(value) and math.fabs(value) <= LARGEST
    if not fits:
        raise InputError(f"network.{name}: {value!r:.60} is out of range; save the network again")
