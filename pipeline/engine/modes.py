"""The modes in which the engine runs networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.engine.kernels.channel import compiled as channel_kernels

# The modes of a binary network that are evaluated and timed, as arguments of `Engine`.
MODES: Mapping[str, Mapping[str, Any]] = {
    "engine_float32": {"activations": "float32"},
    "engine_bfloat16": {"activations": "float32", "float_layers": "bfloat16"},
    "engine_int8": {"activations": "int8"},
    "engine_int6": {"activations": "int6"},
    "engine_int8_all": {"activations": "int8", "float_layers": "int8"},
    "engine_int6_all": {"activations": "int6", "float_layers": "int8"},
}


def modes_here() -> tuple[str, ...]:
    """Return those of `MODES` that this processor can run."""
    lacking = () if channel_kernels.bfloat16_supported() else ("bfloat16",)
    return tuple(name for name, arguments in MODES.items() if arguments.get("float_layers") not in lacking)
