"""The machine and software of a measurement, with the blocking parameters of the engine's kernels that have some."""

from __future__ import annotations

from typing import Any

from pipeline.engine.kernels.channel import compiled
from pipeline.engine.kernels.channel.blocking import described
from pipeline.provenance import environment


def timed_environment() -> dict[str, Any]:
    """Describe what is timed: `pipeline.provenance.environment`, and ``blocking``, by kind of kernel."""
    return environment() | ({"blocking": described()} if compiled.supported() else {})
