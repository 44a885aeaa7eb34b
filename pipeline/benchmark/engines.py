"""The modes of the engine that are timed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.benchmark.backends import Backend, UnavailableError
from pipeline.engine import Engine
from pipeline.engine.modes import MODES
from pipeline.errors import InputError
from pipeline.packed import PackedNetwork

# Arguments of `Engine` by name. The modes with popcount are timed on single layers only.
POPCOUNT: Mapping[str, Mapping[str, Any]] = {
    "engine_int8_popcount": {"activations": "int8", "method": "popcount"},
    "engine_int1_popcount": {"activations": "int1", "method": "popcount"},
}
ENGINES: Mapping[str, Mapping[str, Any]] = {**MODES, **POPCOUNT}


def load(name: str, packed: PackedNetwork, architecture: Any, threads: int) -> Engine:
    """Load a packed network into the engine.

    Parameters
    ----------
    name : str
        From `ENGINES`.
    packed : PackedNetwork
    architecture
        The forward pass through its layers, see `pipeline.benchmark.workloads.Forward`; None for that of the file.
    threads : int

    Raises
    ------
    UnavailableError
        If the engine cannot run the network in this mode.
    """
    try:
        return Engine(packed, threads=threads, architecture=architecture, **ENGINES[name])
    except InputError as error:
        raise UnavailableError(str(error)) from error


def bind(name: str, loaded: Engine, x: NDArray[np.float32]) -> Backend:
    """Bind a loaded engine to one input, float32 of shape (C, h, w)."""
    settings = ENGINES[name]
    binary, float_layers = settings["activations"], settings.get("float_layers", "float32")
    return Backend(
        lambda: loaded.forward(x), binary if binary == float_layers else f"{binary}, float layers {float_layers}"
    )
