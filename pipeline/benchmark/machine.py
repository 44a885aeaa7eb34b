"""The machine and software of a measurement, with the blocking parameters of the engine's kernels that have them."""

from __future__ import annotations

from typing import Any

from pipeline.engine.kernels.channel import compiled
from pipeline.engine.kernels.channel.blocking import described
from pipeline.provenance import environment


def timed_environment() -> dict[str, Any]:
    """Return `pipeline.provenance.environment`, with ``blocking`` by kind of kernel where kernels have it."""
    return environment() | ({"blocking": described()} if compiled.supported() else {})
