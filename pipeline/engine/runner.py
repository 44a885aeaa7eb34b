"""The engine: packed networks on the CPU."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numba
import numpy as np
from numpy.typing import NDArray

from pipeline.engine.convolutions import (
    Convolution,
    FloatConvolution,
    Int8TableConvolution,
    Reader,
    TableConvolution,
)
from pipeline.engine.layers import Layer, layers_of
from pipeline.engine.networks import Architecture, Array
from pipeline.engine.reference import step_of
from pipeline.engine.workspace import Workspace
from pipeline.errors import InputError
from pipeline.packed import PackedNetwork, read
from pipeline.upscaling import upscale_image

Activations = Literal["float32", "int8"]


class EngineOps:
    """The networks' operation by the compiled kernels.

    Parameters
    ----------
    layers : dict of str to Layer
    ranges : dict of str to float
        Ranges of the binary layers whose activations are rounded to int8; empty for float32 activations.
    """

    def __init__(self, layers: Mapping[str, Layer], ranges: Mapping[str, float]) -> None:
        self.workspace = Workspace()
        self.convolutions: dict[str, Convolution] = {}
        for name, layer in layers.items():
            reader, read_by = None, layer.binary_reader
            if read_by is not None and read_by in ranges:
                reader = Reader(layers[read_by].filters.shape[2], step_of(ranges[read_by]))
            if name in ranges:
                self.convolutions[name] = Int8TableConvolution(layer, ranges[name], reader, self.workspace)
            else:
                kind = TableConvolution if layer.binary else FloatConvolution
                self.convolutions[name] = kind(layer, reader, self.workspace)

    def conv(self, layer: str, x: Any, *, norm: Any = None, activation: Any = None, **then: Any) -> Any:
        """See `pipeline.engine.networks.Ops.conv`; `norm` and `activation` are in the layer's epilogue.

        What only passes from layer to layer may be an `Activation` instead of an array.
        """
        return self.convolutions[layer](x, **then)


class Engine:
    """A packed network, ready to run.

    Parameters
    ----------
    packed : PackedNetwork
    activations : {"float32", "int8"}
        What the binary convolutions read: float32, the paper's W1A32, or rounded to 8 bits by the ranges in the
        network's metadata (see `pipeline.calibration`). All else is computed in float32.
    threads : int, optional
        Threads to run on; by default as many as Numba is set to.

    Raises
    ------
    InputError
        If a tensor is missing or does not fit, int8 is asked of a network with no ranges or no binary layers, or Numba
        has not so many threads.
    """

    def __init__(self, packed: PackedNetwork, activations: Activations = "float32", threads: int | None = None) -> None:
        if activations not in ("float32", "int8"):
            raise InputError(f"activations: {activations!r}; choose float32 or int8")
        most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # set at run time
        if threads is not None and not 1 <= threads <= most:
            raise InputError(f"threads: {threads}; choose 1 to {most}, or set NUMBA_NUM_THREADS")
        self.architecture = Architecture.of(packed)
        self.threads = threads
        layers = layers_of(packed, self.architecture)
        self._lock = threading.Lock()
        self._shape: tuple[int, ...] | None = None
        self.ops = EngineOps(layers, activation_ranges(packed, layers) if activations == "int8" else {})

    @classmethod
    def load(cls, path: str | Path, activations: Activations = "float32", threads: int | None = None) -> Engine:
        """Load a packed network from a file; parameters and errors as for the class."""
        packed = read(path)
        try:
            return cls(packed, activations, threads)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def upscale(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Upscale an image.

        Parameters
        ----------
        image : uint8, shape (h, w, 3) RGB or (h, w) grey, of any size but empty

        Returns
        -------
        uint8, shape (scale·h, scale·w, 3) or (scale·h, scale·w)

        Raises
        ------
        InputError
            For an image of another kind.
        """
        return upscale_image(self.forward, image, self.architecture.model, self.architecture.scale)

    def forward(self, x: Array) -> Array:
        """Run the network, with no rounding of its output.

        Parameters
        ----------
        x : float32, shape (C, h, w), in [0, 1]
            RGB; for VDSR the luma (over 255) of the bicubic image.

        Returns
        -------
        float32, shape (C, scale·h, scale·w); for VDSR that of `x`

        Raises
        ------
        InputError
            For an input of another type or shape.
        """
        channels = self.architecture.channels
        if x.dtype != np.float32 or x.ndim != 3 or len(x) != channels or x.size == 0:
            raise InputError(f"input: {x.dtype} of shape {x.shape}; give float32 of shape ({channels}, h, w)")
        x = np.require(x, requirements=["C", "W"])  # for another kind of array Numba would compile the kernels anew
        with self._lock, _threads(self.threads):
            if x.shape != self._shape:  # arrays of another size are of no more use
                self.ops.workspace.clear()
                self._shape = x.shape
            return self.architecture.forward(self.ops, x)


def activation_ranges(packed: PackedNetwork, layers: Mapping[str, Layer]) -> dict[str, float]:
    """Read the range of each binary layer's input from the network's metadata.

    Raises
    ------
    InputError
        If there are no binary layers, or one of them has no range that is a positive number.
    """
    binary = [name for name, layer in layers.items() if layer.binary]
    if not binary:
        raise InputError("activations: int8 for a network that has no binary layers; choose float32")
    ranges = packed.metadata.get("activations") or {}
    for name in binary:
        value = ranges.get(name)
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise InputError(f"metadata.activations.{name}: {value!r} is no range; export with calibration for int8")
    return {name: float(ranges[name]) for name in binary}


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = numba.get_num_threads()
    numba.set_num_threads(count or before)
    try:
        yield
    finally:
        numba.set_num_threads(before)
