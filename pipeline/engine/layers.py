"""The convolutions of a packed network, checked and folded at load."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.epilogue import Epilogue, fold
from pipeline.engine.networks import Architecture, Array
from pipeline.errors import InputError
from pipeline.packed import PackedNetwork


@dataclass(frozen=True)
class Layer:
    """A convolution with its epilogue, and how its output is used.

    Attributes
    ----------
    filters : bool (True for +1) or float32, shape (O, I, k, k), k odd
    epilogue : Epilogue
    shuffle : int
        Factor of the pixel shuffle after it; 1 for none.
    readers : tuple of str
        The layers whose input is its output.
    adders : tuple of str
        The layers whose residual is its output. An output without any use is that of the network.
    """

    filters: NDArray
    epilogue: Epilogue
    shuffle: int = 1
    readers: tuple[str, ...] = ()
    adders: tuple[str, ...] = ()

    @property
    def binary(self) -> bool:
        """Whether the filters are ±1."""
        return self.filters.dtype == np.bool_


def layers_of(packed: PackedNetwork, architecture: Architecture) -> dict[str, Layer]:
    """Return every convolution that the network runs, folded, by name.

    Raises
    ------
    InputError
        If a tensor is missing or its shape does not fit.
    """
    folding = _Folding(packed)
    try:
        architecture.forward(folding, np.zeros((architecture.channels, 1, 1), np.float32))
        if isinstance(architecture, Architecture):  # and not a part of one, as benchmarks run
            folding.check_all_used()
    except (KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"network: the tensors do not fit {architecture.model} ({reason}); save it again") from error
    return folding.finished()


def receptive_radius(layers: Mapping[str, Layer]) -> int:
    """Compute the radius of the network's receptive field, in pixels of its input.

    A residual is only added to later layers computed from it, so that additions do not enlarge the radius.
    """
    reach = 0.0
    entering: dict[str, tuple[float, int]] = {}
    for name, layer in layers.items():  # in execution order
        before, factor = entering.get(name, (0.0, 1))
        after = before + layer.filters.shape[2] // 2 / factor
        reach = max(reach, after)
        for reader in layer.readers:
            entering[reader] = (max(after, entering.get(reader, (0.0, 1))[0]), factor * layer.shuffle)
    return math.ceil(reach)


class _Folding:
    """The networks' operation without arithmetic: it folds each layer and returns zeros of the output's shape."""

    def __init__(self, packed: PackedNetwork) -> None:
        self.packed = packed
        self.layers: dict[str, Layer] = {}
        self.outputs: dict[str, Array] = {}  # by layer, to identify the layer that made an input
        self.readers: dict[str, list[str]] = {}
        self.adders: dict[str, list[str]] = {}
        self.used: set[str] = set()

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
        if layer in self.layers:
            raise ValueError(f"{layer}: runs twice")
        binary = layer in self.packed.binary
        filters = self.packed.binary[layer] if binary else self.packed.tensors[f"{layer}.weight"]
        outputs, inputs, rows, columns = filters.shape
        if inputs != len(x) or rows != columns or rows % 2 == 0 or outputs % shuffle**2:
            raise ValueError(f"{layer}: filters of shape {filters.shape} do not fit {len(x)} input channels")
        self.readers.setdefault(self._maker(x), []).append(layer)
        if residual is not None:
            self.adders.setdefault(self._maker(residual), []).append(layer)
        self.layers[layer] = Layer(filters, fold(self.packed, layer, norm, activation), shuffle)
        parts = ("weight", "bias", "alpha", "running_mean", "running_var")
        self.used |= {f"{name}.{part}" for name in (layer, norm, activation) if name for part in parts}
        height, width = x.shape[1] * shuffle, x.shape[2] * shuffle
        out = np.zeros((outputs // shuffle**2, height, width), np.float32)
        if residual is not None and residual.shape != out.shape:
            raise ValueError(f"{layer}: a residual of shape {residual.shape} does not fit the output, {out.shape}")
        self.outputs[layer] = out
        return out

    def check_all_used(self) -> None:
        """Check that no tensor is left that no layer reads, as PyTorch does.

        Raises
        ------
        ValueError
            If there is one.
        """
        if left := (self.packed.tensors.keys() - self.used) | (self.packed.binary.keys() - self.layers.keys()):
            raise ValueError(f"{min(left)}: no layer reads it")

    def finished(self) -> dict[str, Layer]:
        """Return the layers, each with the users of its output."""
        return {
            name: replace(layer, readers=tuple(self.readers.get(name, [])), adders=tuple(self.adders.get(name, [])))
            for name, layer in self.layers.items()
        }

    def _maker(self, x: Array) -> str:
        """Return the layer whose output is `x`; empty for the network's input and for derived arrays."""
        return next((name for name, out in self.outputs.items() if out is x), "")
