"""The networks' forward passes, written once for every implementation of their one operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.networks import NETWORKS, UPSAMPLING
from pipeline.packed import PackedNetwork

Array = NDArray[np.float32]

RELU = "relu"


# RGB; equal to `pipeline.models.edsr.DIV2K_MEAN`, which cannot be imported without PyTorch.
DIV2K_MEAN = np.array([0.4488, 0.4371, 0.4040], np.float32).reshape(3, 1, 1)


class Ops(Protocol):
    """The one operation of the networks: a convolution with everything up to the next convolution."""

    def conv(
        self,
        layer: str,
        x: Array,
        *,
        norm: str | None = None,
        activation: str | None = None,
        shuffle: int = 1,
        residual: Array | None = None,
        residual_scale: float = 1.0,
    ) -> Array:
        """Return ``residual + residual_scale * pixel_shuffle(activation(norm(layer(x))))``.

        Each layer runs once in a pass.

        Parameters
        ----------
        layer : str
            Name of a same-size convolution with zero padding. It has a bias unless a normalization follows.
        x : float32, shape (C, H, W)
        norm : str, optional
            Name of a batch normalization.
        activation : str, optional
            `RELU`, or the name of a PReLU with one slope.
        shuffle : int
            Factor of the pixel shuffle; 1 is none.
        residual : float32, shape of the output, optional
        residual_scale : float

        Returns
        -------
        float32, shape (O / shuffle², shuffle·H, shuffle·W)
        """
        ...


@dataclass(frozen=True)
class Architecture:
    """The properties of a network that the shapes of its layers do not determine.

    Attributes
    ----------
    model : str
        One of `PASSES`.
    scale : {2, 3, 4}
    blocks : int
        Residual blocks; for VDSR its inner layers.
    residual_scale : float
        The factor of a residual branch in EDSR.
    """

    model: str
    scale: int
    blocks: int
    residual_scale: float

    @classmethod
    def of(cls, packed: PackedNetwork) -> Architecture:
        """Read the architecture of a packed network; the number of blocks follows from its layers' names.

        Raises
        ------
        InputError
            If the network is unknown.
        """
        config = packed.config
        if config.get("model") not in PASSES or config.get("scale") not in UPSAMPLING:
            raise InputError(
                f"network: {config.get('model')!r:.60} at scale {config.get('scale')!r:.60} is unknown; "
                f"use one of {', '.join(PASSES)} at scale 2, 3 or 4"
            )
        names = (name.split(".") for name in (*packed.tensors, *packed.binary))
        blocks = {int(parts[1]) for parts in names if parts[0] == "blocks"}
        return cls(
            packed.config["model"], packed.config["scale"], len(blocks), packed.config.get("residual_scale", 1.0)
        )

    @property
    def channels(self) -> int:
        """Channels of the network's input and output: 1 for networks on luma, else 3 (RGB)."""
        return NETWORKS[self.model].channels

    @property
    def upsampling(self) -> list[int]:
        """The factors of the network's own upsampling, one pixel shuffle each."""
        return [] if NETWORKS[self.model].on_luma else UPSAMPLING[self.scale]

    def forward(self, ops: Ops, x: Array) -> Array:
        """Run the network on x, float32 of shape (channels, H, W) in [0, 1]."""
        return PASSES[self.model][0](self, ops, x)

    def body(self, ops: Ops, x: Array) -> Array:
        """Run the residual blocks alone (VDSR: the inner layers) on x, float32 of shape (features, H, W)."""
        for i in range(self.blocks):
            x = PASSES[self.model][1](self, ops, f"blocks.{i}", x)
        return x


def srresnet_block(net: Architecture, ops: Ops, block: str, x: Array) -> Array:
    """A residual block of SRResNet."""
    change = ops.conv(f"{block}.conv1", x, norm=f"{block}.norm1", activation=f"{block}.act")
    return ops.conv(f"{block}.conv2", change, norm=f"{block}.norm2", residual=x)


def srresnet(net: Architecture, ops: Ops, x: Array) -> Array:
    """SRResNet, see `pipeline.models.srresnet`."""
    head = ops.conv("head", x, activation="act")
    x = ops.conv("conv", net.body(ops, head), norm="norm", residual=head)
    for i, factor in enumerate(net.upsampling):
        x = ops.conv(f"upsample.{i}.conv", x, activation=f"upsample.{i}.act", shuffle=factor)
    return ops.conv("tail", x)


def edsr_block(net: Architecture, ops: Ops, block: str, x: Array) -> Array:
    """A residual block of EDSR."""
    change = ops.conv(f"{block}.conv1", x, activation=RELU)
    return ops.conv(f"{block}.conv2", change, residual=x, residual_scale=net.residual_scale)


def edsr(net: Architecture, ops: Ops, x: Array) -> Array:
    """EDSR, see `pipeline.models.edsr`."""
    head = ops.conv("head", x - DIV2K_MEAN)
    x = ops.conv("conv", net.body(ops, head), residual=head)
    for i, factor in enumerate(net.upsampling):
        x = ops.conv(f"upsample.{i}.conv", x, shuffle=factor)
    return ops.conv("tail", x) + DIV2K_MEAN


def vdsr_block(net: Architecture, ops: Ops, block: str, x: Array) -> Array:
    """An inner layer of VDSR."""
    return ops.conv(block, x, activation=RELU)


def vdsr(net: Architecture, ops: Ops, x: Array) -> Array:
    """VDSR, see `pipeline.models.vdsr`."""
    return ops.conv("tail", net.body(ops, ops.conv("head", x, activation=RELU)), residual=x)


# By network: the whole of it, and one of its residual blocks.
PASSES: dict[
    str, tuple[Callable[[Architecture, Ops, Array], Array], Callable[[Architecture, Ops, str, Array], Array]]
] = {
    "srresnet": (srresnet, srresnet_block),
    "edsr": (edsr, edsr_block),
    "vdsr": (vdsr, vdsr_block),
}
