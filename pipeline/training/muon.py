"""Muon: momentum whose update of a filter bank is made orthogonal (Jordan et al., 2024), for convolutions.

Banks of the same shape are stacked, so that a network of many equal layers costs a few batched matrix products a step.
It computes in float32; other implementations use bfloat16, which many processors only emulate, far more slowly.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

SMALLEST = 32  # fewest inputs and outputs of a bank that is worth making orthogonal
STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration: Jordan et al. chose them for speed, not exactness


def suits_muon(parameter: Tensor) -> bool:
    """Return whether a parameter is a filter bank, O×I×k×k, with at least `SMALLEST` inputs and outputs."""
    return parameter.ndim == 4 and min(parameter.shape[:2]) >= SMALLEST


def orthogonalize(matrices: Tensor) -> Tensor:
    """Bring the singular values of matrices near 1 by five Newton–Schulz steps (between 0.7 and 1.2).

    Every step multiplies the matrices by a polynomial of their Gram matrix. Only the Gram matrix, several times
    smaller, is iterated; the matrices are multiplied once, at the end.

    Parameters
    ----------
    matrices : N×R×C floating-point tensor

    Returns
    -------
    tensor of the same shape and type
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    gram = x @ x.mT
    one = torch.eye(gram.shape[-1], dtype=x.dtype, device=x.device)
    factor = a * one + b * gram + c * gram @ gram
    step = factor
    for _ in range(STEPS - 1):
        gram = step @ gram @ step
        step = a * one + b * gram + c * gram @ gram
        factor = step @ factor
    x = factor @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal bank by bank as O×(I·k·k) matrices.

    The update is scaled by 0.2·√(longer side), with which its root mean square is that of Adam (Liu et al., 2025,
    section 2.2): one learning rate then serves both.

    Parameters
    ----------
    parameters : iterable of O×I×k×k parameters, or of groups of them
    lr : float
    momentum : float in [0, 1)
    weight_decay : float
        Each step shrinks the weights by this share of the learning rate (section 2.2 there).
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | list[dict[str, Any]],
        lr: float,
        momentum: float,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # returns no loss
        for group in self.param_groups:
            banks: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    banks.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in banks.items():
                updates = orthogonalize(self._momenta(parameters, group["momentum"]).flatten(2))
                rate = group["lr"] * 0.2 * max(updates.shape[1:]) ** 0.5
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(parameters, list(updates.unflatten(2, shape[1:])), alpha=-rate)

    def _momenta(self, parameters: list[Tensor], decay: float) -> Tensor:
        """Update the momenta by the gradients, and return the stacked Nesterov momenta, N×O×I×k×k."""
        gradients = [parameter.grad for parameter in parameters]
        momenta = [
            self.state[parameter].setdefault("momentum", torch.zeros_like(parameter)) for parameter in parameters
        ]
        torch._foreach_lerp_(momenta, gradients, 1 - decay)  # type: ignore[arg-type]  # none of them is None
        return torch.stack(torch._foreach_lerp(gradients, momenta, decay))  # type: ignore[arg-type]
