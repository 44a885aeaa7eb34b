"""The records of the benchmark stages, typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

BASELINE = "torch_channels_last"
ENGINE = "engine"  # what the engine's backends begin with


@dataclass(frozen=True)
class Timing:
    """Times of one backend on one image, in milliseconds; dB of signal to error against PyTorch in float32."""

    median_ms: float
    min_ms: float
    q1_ms: float
    q3_ms: float
    max_ms: float
    repeats: int
    snr_db: float
    precision: str


@dataclass(frozen=True)
class Measurement:
    """The backends timed against each other on one thing, and why others are missing."""

    lr_size: tuple[int, int]
    threads: int
    backends: dict[str, Timing]
    missing: dict[str, str]
    speedup: dict[str, dict[str, float]]  # baseline to backend to the median ratio of runs that lay together

    @property
    def engines(self) -> list[str]:
        """The backends that are this project's engine."""
        return [name for name in self.backends if name.startswith(ENGINE)]

    def speed(self, backend: str, baseline: str = BASELINE) -> float | None:
        """Return how many times faster `backend` is than `baseline`, or None if not timed."""
        return self.speedup.get(baseline, {}).get(backend)


@dataclass(frozen=True)
class Amdahl:
    """The time of the float network in PyTorch, and of those of its layers that are binarized, in milliseconds."""

    total_ms: float
    binary_ms: float
    binary_macs: int
    float_macs: int
    ceiling: float | None

    @property
    def share(self) -> float:
        """The share of the time that the binarized layers take."""
        return self.binary_ms / self.total_ms


@dataclass(frozen=True)
class Memory:
    """What one process held: once loaded, at most during a forward pass, and the difference, in MiB."""

    loaded_mib: float
    peak_mib: float
    forward_mib: float


@dataclass(frozen=True)
class Memories:
    """The memory of every backend on one image."""

    lr_size: tuple[int, int]
    backends: dict[str, Memory]
    missing: dict[str, str]


@dataclass(frozen=True)
class Benchmark(Measurement):
    """One whole network at one scale, and its parts."""

    model: str
    scale: int
    parameters: int
    repeats: int  # at most
    body: Measurement
    amdahl: Amdahl
    engine_layers: dict[str, dict[str, float]]  # engine to kind of layer to milliseconds
    sizes: list[Measurement]
    thread_counts: list[Measurement]
    memory: Memories
    environment: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Chain(Measurement):
    """A chain of equal layers."""

    channels: int
    layers: int


@dataclass(frozen=True)
class Layers:
    """Single layers, in chains; and what this machine can do at most, where it was measured."""

    pieces: dict[str, Chain]
    machine_limit: dict[str, Any] | None = None
