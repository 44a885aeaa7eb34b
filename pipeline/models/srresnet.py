"""SRResNet (Ledig et al., CVPR 2017, section 2.1)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pipeline.models.convolutions import convolutions
from pipeline.networks import UPSAMPLING


class _Block(nn.Module):
    def __init__(self, conv: Any, channels: int) -> None:
        super().__init__()
        # A bias before batch normalization would be cancelled by it.
        self.conv1 = conv(channels, channels, 3, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.act = nn.PReLU()
        self.conv2 = conv(channels, channels, 3, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))


class _Upsample(nn.Module):
    def __init__(self, conv: Any, channels: int, factor: int) -> None:
        super().__init__()
        self.conv = conv(channels, channels * factor**2, 3)
        self.shuffle = nn.PixelShuffle(factor)
        self.act = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.shuffle(self.conv(x)))


class Network(nn.Module):
    """SRResNet: RGB N×3×h×w in [0, 1] to N×3×(scale·h)×(scale·w).

    Parameters
    ----------
    scale : {2, 3, 4}
    weights : {"float", "binary"}
    blocks, channels
        Residual blocks and feature channels; 16 and 64 in the paper.
    **binarization
        ``scale_rule`` and ``scope`` of `pipeline.models.convolutions.convolutions`.
    """

    def __init__(self, scale: int, weights: str, blocks: int = 16, channels: int = 64, **binarization: Any) -> None:
        super().__init__()
        inside, outside = convolutions(weights, **binarization)
        self.head = outside(3, channels, 9)
        self.act = nn.PReLU()
        self.blocks = nn.Sequential(*(_Block(inside, channels) for _ in range(blocks)))
        self.conv = outside(channels, channels, 3, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        factors = UPSAMPLING[scale]
        self.upsample = nn.Sequential(*(_Upsample(outside, channels, factor) for factor in factors))
        self.tail = outside(channels, 3, 9)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.head(x))
        x = x + self.norm(self.conv(self.blocks(x)))
        return self.tail(self.upsample(x))
