"""EDSR (Lim et al., CVPRW 2017); the baseline by default, the large network with 32 blocks of 256 channels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.models.convolutions import convolutions
from pipeline.networks import UPSAMPLING

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)  # RGB, of the DIV2K training images: the authors' constant


class _Block(nn.Module):
    def __init__(self, conv: Any, channels: int, residual_scale: float) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, 3)
        self.act = nn.ReLU()
        self.conv2 = conv(channels, channels, 3)
        self.residual_scale = residual_scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.act(self.conv1(x))) * self.residual_scale


class _Upsample(nn.Module):
    def __init__(self, conv: Any, channels: int, factor: int) -> None:
        super().__init__()
        self.conv = conv(channels, channels * factor**2, 3)
        self.shuffle = nn.PixelShuffle(factor)

    def forward(self, x: Tensor) -> Tensor:
        return self.shuffle(self.conv(x))


class Network(nn.Module):
    """EDSR: RGB N×3×h×w in [0, 1] to N×3×(scale·h)×(scale·w).

    Parameters
    ----------
    scale : {2, 3, 4}
    weights : {"float", "binary"}
    blocks, channels, residual_scale
        16, 64 and 1.0 for the baseline; 32, 256 and 0.1 for the large network.
    **binarization
        ``scale_rule`` and ``scope`` of `pipeline.models.convolutions.convolutions`.
    """

    mean: Tensor

    def __init__(
        self,
        scale: int,
        weights: str,
        blocks: int = 16,
        channels: int = 64,
        residual_scale: float = 1.0,
        **binarization: Any,
    ) -> None:
        super().__init__()
        inside, outside = convolutions(weights, **binarization)
        self.register_buffer("mean", torch.tensor(DIV2K_MEAN).reshape(3, 1, 1), persistent=False)
        self.head = outside(3, channels, 3)
        self.blocks = nn.Sequential(*(_Block(inside, channels, residual_scale) for _ in range(blocks)))
        self.conv = outside(channels, channels, 3)
        factors = UPSAMPLING[scale]
        self.upsample = nn.Sequential(*(_Upsample(outside, channels, factor) for factor in factors))
        self.tail = outside(channels, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x - self.mean)
        x = x + self.conv(self.blocks(x))
        return self.tail(self.upsample(x)) + self.mean
