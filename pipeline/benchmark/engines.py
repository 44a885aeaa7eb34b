"""The engine's ways of running a binary network that are timed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.benchmark.backends import Backend, UnavailableError
from pipeline.engine import Engine
from pipeline.errors import InputError
from pipeline.packed import PackedNetwork

ENGINES: Mapping[str, dict[str, Any]] = {
    "engine_float32": {"activations": "float32"},
    "engine_int8": {"activations": "int8"},
}  # name to arguments of `Engine`


def load(name: str, packed: PackedNetwork, architecture: Any, threads: int) -> Engine:
    """Load a packed network into the engine.

    Parameters
    ----------
    name : str
        From `ENGINES`.
    packed : PackedNetwork
    architecture
        How its layers follow each other, see `pipeline.benchmark.pieces.Forward`; None for what the file says.
    threads : int

    Raises
    ------
    UnavailableError
        If the network cannot be run so.
    """
    try:
        return Engine(packed, threads=threads, architecture=architecture, **ENGINES[name])
    except InputError as error:
        raise UnavailableError(str(error)) from error


def bind(name: str, loaded: Engine, x: NDArray[np.float32]) -> Backend:
    """A loaded engine on one input, float32 of shape (C, h, w)."""
    settings = ENGINES[name]
    binary, real = settings["activations"], settings.get("float_layers", "float32")
    return Backend(lambda: loaded.forward(x), binary if binary == real else f"{binary}, float layers {real}")
