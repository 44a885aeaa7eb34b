"""VDSR (Kim et al., CVPR 2016): 20 layers on the luma of the bicubic image."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pipeline.models.convolutions import convolutions


class Network(nn.Module):
    """VDSR: luma N×1×H×W (over 255) of the bicubic image to the luma of the SR image, the same size.

    Parameters
    ----------
    scale : {2, 3, 4}
        Kept for the record: the network itself is the same for every scale.
    weights : {"float", "binary"}
        ``binary`` makes all but the first and the last layer binary.
    layers, channels
        20 and 64 in the paper.
    **binarization
        ``scale_rule`` and ``scope`` of `pipeline.models.convolutions.convolutions`.
    """

    def __init__(self, scale: int, weights: str, layers: int = 20, channels: int = 64, **binarization: Any) -> None:
        super().__init__()
        inside, outside = convolutions(weights, **binarization)
        self.head = outside(1, channels, 3)
        self.blocks = nn.Sequential(*(inside(channels, channels, 3) for _ in range(layers - 2)))
        self.tail = outside(channels, 1, 3)
        self.act = nn.ReLU()
        for layer in (self.head, *self.blocks, self.tail):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # the paper's initialization
            nn.init.zeros_(layer.bias)
            if hasattr(layer, "reset_scale"):
                layer.reset_scale()

    def forward(self, x: Tensor) -> Tensor:
        residual = self.act(self.head(x))
        for conv in self.blocks:
            residual = self.act(conv(residual))
        return x + self.tail(residual)
