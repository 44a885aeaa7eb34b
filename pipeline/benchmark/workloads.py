"""The workloads that are timed: chains of equal layers, the residual blocks of a network, and whole networks.

Time does not depend on training, so all weights are random; filters are binary or float by the same rules as in
training. A chain is timed instead of one layer, since the engine's conversions of its input and output are no part of
a layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.engine.calibration import calibrate_inputs
from pipeline.engine.networks import RELU, Architecture, Array, Ops
from pipeline.models import build
from pipeline.models.binarize import BinaryConv2d
from pipeline.networks import NETWORKS
from pipeline.packed import PackedNetwork
from pipeline.packing import pack

CALIBRATION_INPUTS, CALIBRATION_SIZE = 4, 32  # from which int8 ranges are chosen, in the engine and its peers


def seed(number: int) -> None:
    """Seed the generator of the random weights."""
    torch.manual_seed(number)


@dataclass(frozen=True)
class Workload:
    """Something that both PyTorch in float and the engine in binary can run.

    Attributes
    ----------
    real, binary : torch.nn.Module
        The float network and its binary twin in PyTorch, in evaluation mode: N×C×h×w to N×C×H×W.
    packed : PackedNetwork
        The binary twin, with the ranges of its activations.
    architecture
        How the engine runs it.
    enlarged : int
        The side of its input is `enlarged` times that of the LR image.
    layers : int
        Number of equal layers of a chain; 1 for other workloads.
    calibration : sequence of float32, shape (C, h, w)
        Inputs for choosing int8 ranges.
    """

    real: nn.Module
    binary: nn.Module
    packed: PackedNetwork
    architecture: Forward
    enlarged: int
    layers: int
    calibration: Sequence[NDArray[np.float32]]

    def input(self, height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
        """Return noise in [0, 1] as its input for an LR image of height × width, float32 (C, h, w)."""
        size = (self.architecture.channels, height * self.enlarged, width * self.enlarged)
        return np.random.default_rng(seed).random(size, np.float32)


def network(model: str, scale: int, overrides: Mapping[str, Any], binarization: Mapping[str, Any]) -> Workload:
    """Return the workload of a whole network.

    Parameters
    ----------
    model, scale
        As for `pipeline.models.build`.
    overrides : mapping
        Sizes of the network: blocks, channels, ….
    binarization : mapping
        How its binary twin is binarized: scale_rule, scope.
    """
    real = build(model, scale, "float", **overrides).eval()
    binary = build(model, scale, "binary", **overrides, **binarization).eval()
    packed = pack(binary)
    facts = NETWORKS[model]
    enlarged = scale if facts.on_luma else 1
    return _workload(real, binary, packed, Architecture.of(packed), enlarged, exact_layers=facts.exact_at(scale))


def body(whole: Workload) -> Workload:
    """Return the workload of a network's residual blocks (VDSR's inner layers), without its first and last layers."""
    architecture = cast(Architecture, whole.architecture)
    real, binary = (_Body(module) for module in (whole.real, whole.binary))
    blocks = cast(nn.Module, whole.real.blocks)
    channels = next(value.shape[1] for value in blocks.parameters() if value.ndim == 4)
    return _workload(real.eval(), binary.eval(), whole.packed, Body(architecture, channels), whole.enlarged)


def chain(channels: int, layers: int, binarization: Mapping[str, Any]) -> Workload:
    """Return the workload of a chain of equal 3×3 convolutions, each followed by ReLU."""
    real = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(layers)]
    binary = [BinaryConv2d(channels, channels, 3, padding=1, scale_rule=binarization["scale_rule"]) for _ in real]
    for layer in (*real, *binary):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # keeps activations of order 1
    for layer in binary:
        layer.reset_scale()
    twin = _Chain(binary).eval()
    twin.config = {"model": "chain", "scale": 1}  # type: ignore[assignment]  # as `pipeline.models.build` does
    return _workload(_Chain(real).eval(), twin, pack(twin), Chain(channels, layers), layers=layers)


@dataclass(frozen=True)
class Chain:
    """The engine's forward pass through a chain of layers."""

    channels: int
    layers: int
    model: str = "chain"
    scale: int = 1

    def forward(self, ops: Ops, x: Array) -> Array:
        for i in range(self.layers):
            x = ops.conv(f"layers.{i}", x, activation=RELU)
        return x


@dataclass(frozen=True)
class Body:
    """The engine's forward pass through a network's residual blocks, see `pipeline.engine.networks`."""

    whole: Architecture
    channels: int

    @property
    def model(self) -> str:
        return self.whole.model

    @property
    def scale(self) -> int:
        return self.whole.scale

    def forward(self, ops: Ops, x: Array) -> Array:
        return self.whole.body(ops, x)


Forward = Architecture | Chain | Body  # what the engine runs: a whole architecture or a part of one


class _Chain(nn.Module):
    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x


class _Body(nn.Module):
    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.blocks = cast(nn.Sequential, whole.blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            bare = isinstance(block, nn.Conv2d)  # VDSR's, whose activation is outside of it
            x = torch.relu(block(x)) if bare else block(x)
        return x


def _workload(
    real: nn.Module,
    binary: nn.Module,
    packed: PackedNetwork,
    architecture: Forward,
    enlarged: int = 1,
    layers: int = 1,
    exact_layers: Mapping[str, int] = MappingProxyType({}),
) -> Workload:
    """Return a workload whose packed network holds the ranges of its activations."""
    rng = np.random.default_rng(0)
    size = (architecture.channels, CALIBRATION_SIZE, CALIBRATION_SIZE)
    inputs = [rng.random(size, np.float32) for _ in range(CALIBRATION_INPUTS)]
    ranges = calibrate_inputs(packed, cast(Architecture, architecture), inputs, exact_layers=exact_layers)
    packed = replace(packed, metadata={**packed.metadata, "activations": ranges})
    return Workload(real, binary, packed, architecture, enlarged, layers, inputs)
