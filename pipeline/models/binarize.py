"""Binarized convolution: ±1 filters with one scale per output filter (Ma et al., CVPRW 2019, section 3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.runs import ScaleRule


class _Sign(torch.autograd.Function):
    """Sign with sign(0) = +1, and the straight-through gradient clipped to |w| <= 1 (Hubara et al., 2016, eq. 4)."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (weight,) = ctx.saved_tensors
        return grads[0] * (weight.abs() <= 1)


def sign(weight: Tensor) -> Tensor:
    """Binarize to -1 and +1 (0 gives +1), differentiable by the clipped straight-through estimator."""
    return _Sign.apply(weight)


def mean_magnitude(weight: Tensor) -> Tensor:
    """Mean of |w| over each output filter, shape (O,): the scale nearest to the filter in least squares.

    Summed in float64, so that a filter whose magnitudes are all the same float32 gets exactly that number back.
    """
    return weight.double().abs().mean(dim=(1, 2, 3)).to(weight.dtype)


class BinaryConv2d(nn.Conv2d):
    """Convolution whose filters are ``alpha[o] * sign(weight[o])``; activations stay real (W1A32).

    ``weight`` holds the latent float32 filters that training updates; only their signs count in the forward pass.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, padding, bias
        As for `torch.nn.Conv2d`, with stride 1.
    scale_rule : {"learnable", "analytic", "none"}
        Where the per-filter scale comes from: a parameter that starts at mean |w| (the paper), mean |w| itself at every
        step (XNOR-Net), or no scale.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        padding: int = 0,
        bias: bool = True,
        scale_rule: ScaleRule = "learnable",
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=padding, bias=bias)
        self.scale_rule = scale_rule
        if scale_rule == "learnable":
            self.alpha = nn.Parameter(mean_magnitude(self.weight.detach()))

    def reset_scale(self) -> None:
        """Set a learnable scale to mean |w| of its filter; call it after setting the latent filters."""
        if self.scale_rule == "learnable":
            self.alpha.data = mean_magnitude(self.weight.detach())

    def scale(self) -> Tensor:
        """The scale of each output filter, shape (O,)."""
        if self.scale_rule == "learnable":
            return self.alpha
        if self.scale_rule == "analytic":
            return mean_magnitude(self.weight)
        return self.weight.new_ones(self.out_channels)

    def binary_weight(self) -> Tensor:
        """The filters that the forward pass uses, shape (O, I, kh, kw)."""
        return self.scale()[:, None, None, None] * sign(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.binary_weight(), self.bias)


def latent_filters(module: nn.Module) -> list[Tensor]:
    """Return the latent filters of a network's binary convolutions."""
    return [layer.weight for layer in module.modules() if isinstance(layer, BinaryConv2d)]


def start_from_float(module: nn.Module, float_state: dict[str, Tensor]) -> None:
    """Load the weights of the float twin into a binary network; each learnable scale becomes mean |w| of its filter.

    Raises
    ------
    RuntimeError
        If the two networks differ in anything but the scales.
    """
    scales = {
        f"{name}.alpha": mean_magnitude(float_state[f"{name}.weight"])
        for name, layer in module.named_modules()
        if isinstance(layer, BinaryConv2d) and layer.scale_rule == "learnable"
    }
    module.load_state_dict({**float_state, **scales})
