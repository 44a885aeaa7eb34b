"""The convolutions of a packed network, checked and made ready at load."""

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
    """One convolution with what follows it.

    Attributes
    ----------
    filters : bool (True for +1) or float32, shape (O, I, k, k), k odd
    epilogue : Epilogue
    shuffle : int
        Factor of the pixel shuffle after it; 1 for none.
    readers : tuple of str
        The layers that convolve its output next.
    added : bool
        Whether its output is added to another's. An output that is neither convolved nor added is the caller's.
    """

    filters: NDArray
    epilogue: Epilogue
    shuffle: int = 1
    readers: tuple[str, ...] = ()
    added: bool = False

    @property
    def binary(self) -> bool:
        """Whether the filters are ±1."""
        return self.filters.dtype == np.bool_


def layers_of(packed: PackedNetwork, architecture: Architecture) -> dict[str, Layer]:
    """Fold every convolution that the network runs, by its name.

    Raises
    ------
    InputError
        If a tensor is missing or does not fit.
    """
    folding = _Folding(packed)
    try:
        architecture.forward(folding, np.zeros((architecture.channels, 1, 1), np.float32))
    except (KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"network: the tensors do not fit {architecture.model} ({reason}); save it again") from error
    return folding.finished()


def reach_of(layers: Mapping[str, Layer]) -> int:
    """How far from an output pixel its inputs lie at most, in pixels of the network's input.

    An output is only ever added to what was convolved since, so that additions reach no further.
    """
    reach = 0.0
    arrives: dict[str, tuple[float, int]] = {}
    for name, layer in layers.items():  # in the order in which they run
        before, factor = arrives.get(name, (0.0, 1))
        after = before + layer.filters.shape[2] // 2 / factor
        reach = max(reach, after)
        for reader in layer.readers:
            arrives[reader] = (max(after, arrives.get(reader, (0.0, 1))[0]), factor * layer.shuffle)
    return math.ceil(reach)


class _Folding:
    """The network's operation on shapes alone: it folds each layer that is asked for, and gives zeros."""

    def __init__(self, packed: PackedNetwork) -> None:
        self.packed = packed
        self.layers: dict[str, Layer] = {}
        self.outputs: dict[str, Array] = {}  # by layer: also to know a reader's input again
        self.readers: dict[str, list[str]] = {}
        self.added: set[str] = set()

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
        binary = layer in self.packed.binary
        filters = self.packed.binary[layer] if binary else self.packed.tensors[f"{layer}.weight"]
        outputs, inputs, rows, columns = filters.shape
        if inputs != len(x) or rows != columns or rows % 2 == 0 or outputs % shuffle**2:
            raise ValueError(f"{layer}: filters of shape {filters.shape} for {len(x)} channels")
        self.readers.setdefault(self._maker(x), []).append(layer)
        if residual is not None:
            self.added.add(self._maker(residual))
        self.layers[layer] = Layer(filters, fold(self.packed, layer, norm, activation), shuffle)
        height, width = x.shape[1] * shuffle, x.shape[2] * shuffle
        out = np.zeros((outputs // shuffle**2, height, width), np.float32)
        if residual is not None and residual.shape != out.shape:
            raise ValueError(f"{layer}: a residual of shape {residual.shape} for {out.shape}")
        self.outputs[layer] = out
        return out

    def finished(self) -> dict[str, Layer]:
        """The layers, each with what reads its output."""
        return {
            name: replace(layer, readers=tuple(self.readers.get(name, [])), added=name in self.added)
            for name, layer in self.layers.items()
        }

    def _maker(self, x: Array) -> str:
        """The layer whose output `x` is; empty for the network's input and what was computed since."""
        return next((name for name, out in self.outputs.items() if out is x), "")
