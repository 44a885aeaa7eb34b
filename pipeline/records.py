"""The schema of every result file: what stages write, and what reports and tests read.

Stages write a record with `dataclasses.asdict`; `pipeline.reporting.results` reads it and checks every field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline.runs import Weights

TORCH = "torch_channels_last"  # PyTorch as this project runs networks with it
FLOAT32 = (
    "torch",
    TORCH,
    "torch_compile",
    "torch_avx2",
    "onnxruntime_float32",
    "openvino_float32",
)  # run the float network exactly
INT8 = "openvino_int8"  # the fastest runtime of quantized float networks
EXACT_MODES = ("engine_float32", "engine_bfloat16")  # of the engine, with float32 activations, which are the paper's
ENGINE = "engine"  # the names of the engine's backends begin with it


@dataclass(frozen=True)
class Quality:
    """Means over a set: PSNR on luma and on RGB (None for grey images) in dB, and SSIM on luma."""

    psnr_y: float
    psnr_rgb: float | None
    ssim_y: float


@dataclass(frozen=True)
class Score:
    """How close an SR image comes to its HR image; dB, and ``ssim_y`` in [-1, 1]. Grey images have no ``psnr_rgb``."""

    image: str
    psnr_y: float
    psnr_rgb: float | None
    ssim_y: float


@dataclass(frozen=True)
class ScoreRow:
    """One score in a table of scores: its backend and, where the table has several, its method and set."""

    backend: str
    image: str
    psnr_y: float
    psnr_rgb: float | None
    ssim_y: float
    method: str = ""
    set: str = ""


def score_rows(scores: Mapping[str, Sequence[Score]], **about: str) -> list[dict[str, Any]]:
    """Return scores by backend as rows of a table; each begins with `about`."""
    return [
        {**about, "backend": backend, **asdict(score)} for backend, of_backend in scores.items() for score in of_backend
    ]


@dataclass(frozen=True)
class TrainingRecord:
    """How one network was trained.

    Attributes
    ----------
    loss, psnr_y
        Training loss since the last validation, and PSNR-Y of the validation images (dB) at the end.
    seconds, cpu_seconds
        Wall time, and processor time of all threads.
    lr_patch
        Side of the crops, LR pixels.
    start
        The network whose weights it started from; None for random weights.
    distillation
        Share of the loss that compares with the outputs of that network.
    """

    iterations: int
    planned_iterations: int
    stopped: Literal["finished", "max_minutes"]
    loss: float
    psnr_y: float
    seconds: float
    cpu_seconds: float
    images_per_second: float
    batch: int
    lr_patch: int
    scales: list[int]
    precision: str
    start: str | None
    distillation: float
    seed: int
    training_set: str
    validation_set: str
    device: str
    processes: int
    threads: int


@dataclass(frozen=True)
class Footprint:
    """The size of one packed file.

    Attributes
    ----------
    bytes, header : int
        Bytes of the whole file, and of its header.
    layers : dict
        Bytes of ``binary`` filters (bits and scales), ``float`` filters, and ``other`` tensors (biases, batch
        normalization, slopes).
    parts : dict
        The same bytes by the network's parts, such as ``head``, ``blocks``, ``upsample`` and ``tail``.
    parameters, binary_parameters : int
        Number of its parameters, and of those that take one bit in the file.
    """

    bytes: int
    header: int
    layers: dict[str, int]
    parts: dict[str, int]
    parameters: int
    binary_parameters: int


@dataclass(frozen=True)
class PictureRecord:
    """A test image that the report shows: why it was chosen, and by model its binarization gap, dB of PSNR-Y."""

    choice: Literal["largest", "smallest"]
    image: str
    gaps: dict[str, float]


@dataclass(frozen=True)
class StageSeconds:
    """How long a stage took."""

    seconds: float


@dataclass(frozen=True)
class Timing:
    """The times of one backend on one image, in milliseconds."""

    min_ms: float
    q1_ms: float
    median_ms: float
    q3_ms: float
    max_ms: float
    repeats: int


@dataclass(frozen=True)
class CheckedTiming(Timing):
    """Times of a backend whose output was compared with PyTorch's in float32: signal to error in dB."""

    snr_db: float
    precision: str  # of its convolutions


@dataclass(frozen=True)
class Measurement:
    """The backends timed in turns on one workload, and why others are missing.

    Attributes
    ----------
    lr_size
        Height and width of the LR image.
    speedup
        By baseline (those of `FLOAT32`, and `INT8`) and backend, how many times as fast the backend is: the median of
        the ratios of each round.
    speedup_of_fastest
        The same for the fastest run of each, which a shared machine disturbs least.
    """

    lr_size: tuple[int, int]
    threads: int
    backends: dict[str, CheckedTiming]
    missing: dict[str, str]
    speedup: dict[str, dict[str, float]]
    speedup_of_fastest: dict[str, dict[str, float]]

    @property
    def engines(self) -> list[str]:
        """The backends that are this project's engine."""
        return [name for name in self.backends if name.startswith(ENGINE)]

    @property
    def baseline(self) -> str | None:
        """The backend that speed is compared with: the fastest that runs the float network in float32."""
        timed = {name: self.backends[name].median_ms for name in FLOAT32 if name in self.backends}
        return min(timed, key=timed.__getitem__, default=None)

    def speed(self, backend: str, baseline: str | None = None) -> float | None:
        """Return how many times as fast as a baseline a backend is, or None if one of them was not timed."""
        return self.speedup.get(baseline or self.baseline or "", {}).get(backend)


@dataclass(frozen=True)
class PublishedRatios:
    """What `make ratios` measured of one workload, several times.

    Attributes
    ----------
    model
        Of a network, or the name of a single layer.
    body
        Whether only the residual blocks were timed.
    """

    model: str
    scale: int
    body: bool
    environment: dict[str, Any]
    runs: list[Measurement]


@dataclass(frozen=True)
class LayerTime:
    """One convolution of a float network with what follows it: its twin's kind, its multiply-adds, its milliseconds."""

    name: str
    binary: bool
    macs: int
    ms: float


@dataclass(frozen=True)
class Amdahl:
    """The time of a float network by layer in PyTorch, and the limit that this sets to its binary twin.

    Attributes
    ----------
    total_ms, binary_ms : float
        Time of the network, and of the layers whose twins are binary.
    binary_macs, float_macs : int
        Multiply-adds of the layers whose twins are binary, and of the others.
    ceiling : float or None
        How many times as fast the network would be if its binary layers took no time; None if it has no others.
    """

    layers: list[LayerTime]
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
    """The memory of one process: once loaded, at most during a forward pass, and the difference, in MiB."""

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
class NetworkBenchmark(Measurement):
    """One whole network at one scale, and its parts.

    Attributes
    ----------
    network
        Its sizes, as `pipeline.models.build` takes them.
    repeats
        Largest number of rounds.
    engine_layers
        Milliseconds by mode of the engine and kind of layer (``binary``, ``float``, ``other``).
    sizes, thread_counts
        The network on other images, and with fewer threads.
    """

    model: str
    scale: int
    network: dict[str, Any]
    parameters: int
    repeats: int
    body: Measurement
    amdahl: Amdahl
    engine_layers: dict[str, dict[str, float]]
    sizes: list[Measurement]
    thread_counts: list[Measurement]
    memory: Memories
    environment: dict[str, Any]


@dataclass(frozen=True)
class LayerChain(Measurement):
    """A chain of equal layers; times are of the whole chain."""

    channels: int
    layers: int


@dataclass(frozen=True)
class Layers:
    """Single layers in chains, and the limits of this machine (see `pipeline.benchmark.limits`)."""

    pieces: dict[str, LayerChain]
    machine_limit: dict[str, float]
    repeats: int
    environment: dict[str, Any]


@dataclass(frozen=True)
class PairTiming:
    """A published float network in PyTorch and its binary twin in the engine's modes, in turns on one image."""

    lr_size: tuple[int, int]
    threads: int
    backends: dict[str, Timing]
    speedup: dict[str, float]  # over PyTorch


@dataclass(frozen=True)
class PublishedRun:
    """What a run measured of the published networks on one test set.

    Attributes
    ----------
    methods
        Means by network (or ``bicubic-x<scale>``) and backend.
    times
        Times of a pair, by its binary network.
    """

    set: str
    methods: dict[str, dict[str, Quality]]
    times: dict[str, PairTiming]
    environment: dict[str, Any]


@dataclass(frozen=True)
class SearchTrial:
    """One short training of the search for the settings, and its changes to those of the profile."""

    model: str
    scale: int
    weights: Weights
    changes: dict[str, Any]
    iterations: int
    psnr_y: float
    cpu_seconds: float
    seed: int
    device: str
    threads: int
    history: list[dict[str, float]]
    environment: dict[str, Any]
