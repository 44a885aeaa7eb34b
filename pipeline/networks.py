"""What each network is and eats, beside its layers: all that the rest of the code has to know of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Facts:
    """The facts of one network.

    Attributes
    ----------
    title : str
        Its name as its authors write it.
    sizes : mapping of str to int or float
        Arguments of its class, all of which params.yaml names: the least of whole numbers, the bound below others.
    iterations : int
        For how long its paper trains it, see conf/profile/paper.yaml.
    parameters : int
        Of the float network in its paper's size at ×2, where they are fewest.
    on_luma : bool
        Its input is the luma of the bicubic image, at any scale, and its output the luma of the SR image. The others
        take the LR image in RGB.
    exact_layers : mapping of str to tuple of int
        For "int8" and "int6", at ×2, ×3 and ×4: how many of its binary layers, from the first, keep float32 inputs when
        activations are rounded. All later layers amplify their errors. See docs/rounding.md for what each costs.
    """

    title: str
    sizes: Mapping[str, float]
    iterations: int
    parameters: int
    on_luma: bool = False
    exact_layers: Mapping[str, tuple[int, int, int]] = field(
        default_factory=lambda: {"int8": (1, 1, 1), "int6": (1, 1, 1)}
    )

    @property
    def channels(self) -> int:
        """Channels of its input and of its output."""
        return 1 if self.on_luma else 3

    def exact_at(self, scale: int) -> dict[str, int]:
        """Return `exact_layers` at ×2, ×3 or ×4."""
        return {kind: counts[scale - 2] for kind, counts in self.exact_layers.items()}


UPSAMPLING = {2: [2], 3: [3], 4: [2, 2]}  # scale to the factors of the pixel shuffles of SRResNet and EDSR

NETWORKS = {
    "srresnet": Facts("SRResNet", {"blocks": 1, "channels": 1}, iterations=1_000_000, parameters=1_399_637),
    "edsr": Facts(
        "EDSR", {"blocks": 1, "channels": 1, "residual_scale": 0.0}, iterations=300_000, parameters=1_369_859
    ),
    "vdsr": Facts(
        "VDSR",
        {"layers": 3, "channels": 1},
        iterations=80_000,
        parameters=665_921,
        on_luma=True,
        # More than the others, since no skip connections bypass its layers.
        exact_layers={"int8": (0, 1, 3), "int6": (3, 3, 3)},
    ),
}
