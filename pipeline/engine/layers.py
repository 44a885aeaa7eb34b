"""The convolutions of a packed network, checked and made ready at load."""

from __future__ import annotations

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
    binary_reader : str, optional
        The binary layer that convolves this layer's output next, where there is one.
    read_as_float : bool
        Whether anything else reads this layer's output: a float layer, an addition, the caller.
    """

    filters: NDArray
    epilogue: Epilogue
    binary_reader: str | None = None
    read_as_float: bool = True

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
        folding.read_as_float(architecture.forward(folding, np.zeros((architecture.channels, 1, 1), np.float32)))
    except (KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"network: the tensors do not fit {architecture.model} ({reason}); save it again") from error
    return folding.finished()


class _Folding:
    """The network's operation on shapes alone: it folds each layer that is asked for, and gives zeros."""

    def __init__(self, packed: PackedNetwork) -> None:
        self.packed = packed
        self.layers: dict[str, Layer] = {}
        self.outputs: dict[str, Array] = {}  # by layer: also to know a reader's input again
        self.binary_readers: dict[str, list[str]] = {}
        self.float_read: set[str] = set()
        self.scattered: set[str] = set()  # pixel-shuffled, which is not quantized on the way

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
        if binary:
            self.binary_readers.setdefault(self._maker(x), []).append(layer)
        else:
            self.read_as_float(x)
        if residual is not None:
            self.read_as_float(residual)
        self.layers[layer] = Layer(filters, fold(self.packed, layer, norm, activation))
        height, width = x.shape[1] * shuffle, x.shape[2] * shuffle
        out = np.zeros((outputs // shuffle**2, height, width), np.float32)
        if residual is not None and residual.shape != out.shape:
            raise ValueError(f"{layer}: a residual of shape {residual.shape} for {out.shape}")
        self.outputs[layer] = out
        if shuffle > 1:
            self.scattered.add(layer)
        return out

    def read_as_float(self, x: Array) -> None:
        """Note that something reads the float32 values of `x`."""
        self.float_read.add(self._maker(x))

    def finished(self) -> dict[str, Layer]:
        """The layers, each with what reads its output."""
        found = {}
        for name, layer in self.layers.items():
            readers = self.binary_readers.get(name, [])
            direct = len(readers) == 1 and name not in self.scattered
            as_float = name in self.float_read or not direct
            found[name] = replace(layer, binary_reader=readers[0] if direct else None, read_as_float=as_float)
        return found

    def _maker(self, x: Array) -> str:
        """The layer whose output `x` is; empty for the network's input and what was computed since."""
        return next((name for name, out in self.outputs.items() if out is x), "")
