"""The engine: packed networks on the CPU."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numba
import numpy as np
from numpy.typing import NDArray

from pipeline.engine.kernels.channel import compiled as channel_kernels
from pipeline.engine.kernels.channel import convolutions as channel_convolutions
from pipeline.engine.kernels.pixel import convolutions as pixel_convolutions
from pipeline.engine.layers import Layer, layers_of, reach_of
from pipeline.engine.networks import Architecture, Array
from pipeline.engine.quantization import Quantization
from pipeline.engine.tiles import cut
from pipeline.engine.wanted import Method, wanted_of
from pipeline.engine.workspace import Workspace
from pipeline.errors import InputError
from pipeline.packed import PackedNetwork, read
from pipeline.upscaling import Depth, upscale_image

Activations = Literal["float32", "int8", "int6", "int1"]
FloatLayers = Literal["float32", "int8"]

BITS = {"int8": 8, "int6": 6, "int1": 1}
FLOAT_LAYERS = "float_layers"  # where the metadata have the ranges of their inputs
TILE = 1024

# The ways of running a binary network that are evaluated and timed, by arguments of `Engine`.
MODES: Mapping[str, Mapping[str, Any]] = {
    "engine_float32": {"activations": "float32"},
    "engine_int8": {"activations": "int8"},
    "engine_int6": {"activations": "int6"},
    "engine_int8_all": {"activations": "int8", "float_layers": "int8"},
    "engine_int6_all": {"activations": "int6", "float_layers": "int8"},
}


class EngineOps:
    """The networks' operation by the compiled kernels.

    Parameters
    ----------
    layers : mapping of str to Layer
    quantizations : mapping of str to Quantization
        Of the inputs of those layers that compute with integers.
    method : {"tables", "popcount"}
        See `Engine`.
    """

    def __init__(
        self, layers: Mapping[str, Layer], quantizations: Mapping[str, Quantization], method: Method = "tables"
    ) -> None:
        self.workspace = Workspace()
        kind: Any = pixel_convolutions.Convolution
        if channel_kernels.supported():
            kind = partial(channel_convolutions.Convolution, method=method)
        self.convolutions: dict[str, Any] = {
            name: kind(layer, quantizations.get(name), wanted_of(layer, layers, quantizations), self.workspace)
            for name, layer in layers.items()
        }

    def conv(self, layer: str, x: Any, *, norm: Any = None, activation: Any = None, **then: Any) -> Any:
        """See `pipeline.engine.networks.Ops.conv`; `norm` and `activation` are in the layer's epilogue.

        What only passes from layer to layer is an `Activation` instead of an array.
        """
        return self.convolutions[layer](x, **then)


class Engine:
    """A packed network, ready to run.

    Parameters
    ----------
    packed : PackedNetwork
    activations : {"float32", "int8", "int6", "int1"}
        What the binary convolutions read: float32, the paper's W1A32, or rounded to 8 or 6 bits by the ranges in the
        network's metadata (see `pipeline.engine.calibration`), or signs alone, for networks trained so (W1A1).
    float_layers : {"float32", "int8"}
        What the other convolutions compute with: float32, or activations and filters rounded to 8 bits.
    threads : int, optional
        Threads to run on; by default as many as Numba is set to.
    architecture : Architecture, optional
        How the layers follow each other; by default what the network's metadata say.
    tile : int, optional
        Side of the tiles that larger images are cut into, in pixels of the network's input. Memory is bounded by it,
        and results are the same to the bit. None for no tiles.
    method : {"tables", "popcount"}
        How binary layers meet rounded activations: by tables of signed sums, or by counting the bits of bit planes, the
        textbook way, which is there to be compared with. Results are the same to the bit.

    Raises
    ------
    InputError
        If a tensor is missing or does not fit, rounding is asked of a network with no ranges or no such layers, or
        Numba has fewer threads.
    """

    def __init__(
        self,
        packed: PackedNetwork,
        activations: Activations = "float32",
        threads: int | None = None,
        architecture: Architecture | None = None,
        float_layers: FloatLayers = "float32",
        tile: int | None = TILE,
        method: Method = "tables",
    ) -> None:
        for field, value, choices in (
            ("activations", activations, get_args(Activations)),
            ("float_layers", float_layers, get_args(FloatLayers)),
            ("method", method, get_args(Method)),
        ):
            if value not in choices:
                raise InputError(f"{field}: {value!r}; choose {', '.join(choices)}")
        most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # set at run time
        if threads is not None and not 1 <= threads <= most:
            raise InputError(f"threads: {threads}; choose 1 to {most}, or set NUMBA_NUM_THREADS")
        if method == "popcount" and not channel_kernels.supported():
            raise InputError("method: popcount needs a processor with AVX-512 VBMI and VNNI; choose tables")
        if tile is not None and tile < 1:
            raise InputError(f"tile: {tile}; choose 1 or more, or none")
        self.architecture = architecture or Architecture.of(packed)
        self.threads, self.tile = threads, tile
        layers = layers_of(packed, self.architecture)
        self._reach = reach_of(layers)
        self._lock = threading.Lock()
        self._shape: tuple[int, ...] | None = None
        self.ops = EngineOps(layers, quantizations_of(packed, layers, activations, float_layers), method)

    @classmethod
    def load(
        cls,
        path: str | Path,
        activations: Activations = "float32",
        threads: int | None = None,
        float_layers: FloatLayers = "float32",
        tile: int | None = TILE,
    ) -> Engine:
        """Load a packed network from a file; parameters and errors as for the class."""
        packed = read(path)
        try:
            return cls(packed, activations, threads, float_layers=float_layers, tile=tile)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def upscale(self, image: NDArray[Depth]) -> NDArray[Depth]:
        """Upscale an image.

        Parameters
        ----------
        image : uint8 or uint16, shape (h, w, 3) RGB or (h, w) grey, of any size but empty

        Returns
        -------
        of the image's type, shape (scale·h, scale·w, 3) or (scale·h, scale·w)

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
        x = np.require(x, requirements=["C", "W"])  # for another kind of array Numba would recompile the kernels
        with self._lock, _threads(self.threads):
            if self.tile is None or max(x.shape[1:]) <= self.tile + 2 * self._reach:
                return self._run(x)
            rows, columns = (cut(length, self.tile, self._reach) for length in x.shape[1:])
            result, scale = np.empty((0, 0, 0), np.float32), 1
            for row in rows:
                for column in columns:
                    out = self._run(np.ascontiguousarray(x[:, row.read, column.read]))
                    if not result.size:
                        scale = out.shape[1] // (row.read.stop - row.read.start)
                        result = np.empty((len(out), scale * x.shape[1], scale * x.shape[2]), np.float32)
                    result[:, row.write(scale), column.write(scale)] = out[:, row.inside(scale), column.inside(scale)]
            return result

    def _run(self, x: Array) -> Array:
        if x.shape != self._shape:  # arrays of another size are of no more use
            self.ops.workspace.clear()
            self._shape = x.shape
        return self.architecture.forward(self.ops, x)


def quantizations_of(
    packed: PackedNetwork, layers: Mapping[str, Layer], activations: Activations, float_layers: FloatLayers
) -> dict[str, Quantization]:
    """How the inputs of layers that compute with integers are rounded, by the ranges in the network's metadata.

    Raises
    ------
    InputError
        If there are no binary layers to round for, or a layer has no range.
    """
    binary = [name for name, layer in layers.items() if layer.binary]
    if activations != "float32" and not binary:
        raise InputError(f"activations: {activations} for a network that has no binary layers; choose float32")
    found = {}
    if activations != "float32":
        found = {name: Quantization.of(*_range(packed, activations, name), BITS[activations]) for name in binary}
    if float_layers != "float32":
        others = {name: layer for name, layer in layers.items() if not layer.binary}
        found |= {name: _by_channel(packed, name, layer.filters.shape[1]) for name, layer in others.items()}
    return found


def _range(packed: PackedNetwork, kind: str, layer: str) -> tuple[float, float]:
    field = f"metadata.activations.{kind}.{layer}"
    found = ((packed.metadata.get("activations") or {}).get(kind) or {}).get(layer)
    remedy = f"export with calibration for {kind}"
    if not isinstance(found, list | tuple) or len(found) != 2:
        raise InputError(f"{field}: {found!r} is no range; {remedy}")
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in found):
        raise InputError(f"{field}: {found!r} is not of two numbers; {remedy}")
    low, high = min(float(found[0]), 0.0), max(float(found[1]), 0.0)
    if not high > low:
        raise InputError(f"{field}: {found!r} is empty; {remedy}")
    return low, high


def _by_channel(packed: PackedNetwork, layer: str, channels: int) -> Quantization:
    field = f"metadata.activations.{FLOAT_LAYERS}.{layer}"
    found = ((packed.metadata.get("activations") or {}).get(FLOAT_LAYERS) or {}).get(layer)
    remedy = "export with calibration for int8"
    if not isinstance(found, dict) or not isinstance(found.get("signed"), bool):
        raise InputError(f"{field}: {found!r} has no ranges; {remedy}")
    largest = found.get("largest")
    if not isinstance(largest, list) or len(largest) != channels:
        raise InputError(f"{field}.largest: not a list of {channels} numbers; {remedy}")
    if not all(isinstance(value, int | float) and 0 <= value < math.inf for value in largest):
        raise InputError(f"{field}.largest: {largest!r:.60} are not all finite and at least 0; {remedy}")
    return Quantization.of_channels(np.array(largest, np.float32), found["signed"])


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = numba.get_num_threads()
    numba.set_num_threads(count or before)
    try:
        yield
    finally:
        numba.set_num_threads(before)
