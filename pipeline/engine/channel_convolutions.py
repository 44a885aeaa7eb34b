"""Convolutions on `pipeline.engine.channel_kernels`: filters made ready once, at load, and images of any halo."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numba import get_num_threads
from numpy.typing import NDArray

from pipeline.engine import channel_kernels as kernels
from pipeline.engine.channel_kernels import LANES, SLACK_PIXELS
from pipeline.engine.channel_tables import index_float32, index_int6, index_int8
from pipeline.engine.epilogue import Epilogue
from pipeline.engine.layers import Layer
from pipeline.engine.networks import Array
from pipeline.engine.quantization import Quantization, quantize_filters
from pipeline.engine.wanted import Wanted
from pipeline.engine.workspace import Workspace, aligned

NO_VALUES = np.empty((0, 0, 0), np.float32)
NO_LEVELS = np.empty((0, 0, 0), np.uint8)
NO_PLACES = np.empty(0, np.int64)

FEW = 4  # up to so many outputs, lanes are better spent on input channels
BLOCK = 64  # outputs of a microkernel, at most
ACCUMULATORS = 24  # of 32 registers; the others hold what is read and the weights
STRIP = {1: 48, 2: 48, 4: 32}  # columns whose tables are kept, by bytes of an index: as fit in the caches


@dataclass(frozen=True)
class Activation:
    """A layer's output as its readers want it, pixel by pixel.

    Attributes
    ----------
    channels, height, width : int
    values : float32, shape (rows, columns, at least C), zero around the image
        Empty where nothing reads them.
    halo : int
        Pixels around the image in `values`.
    levels : uint8, shape (rows, columns, at least C)
        Levels of `quantization` less its lowest; empty where nothing reads them.
    levels_halo : int
    quantization : Quantization, optional
    """

    channels: int
    height: int
    width: int
    values: Array
    halo: int
    levels: NDArray[np.uint8] = field(default_factory=lambda: NO_LEVELS)
    levels_halo: int = 0
    quantization: Quantization | None = None

    @property
    def inside(self) -> Array:
        """The image itself in float32, shape (height, width, C)."""
        return self.values[self.halo : self.halo + self.height, self.halo : self.halo + self.width, : self.channels]


class Images:
    """Images in memory that is used again."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def room(self, channels: int, height: int, width: int, halo: int, fill: int | None = None) -> NDArray:
        """An image of `channels` channels: float32, or uint8 with `fill` in it where nothing has been written yet.

        What lies around the image stays as it is: only images of this size, at this place, are written into it.
        """
        dtype = np.float32 if fill is None else np.uint8
        rows, columns = height + 2 * halo, width + 2 * halo
        slack = -(-SLACK_PIXELS * max(1, 64 // channels) // columns)
        purpose = ("image", height, width, halo, fill)
        image = self.workspace.array((rows + slack, columns, channels), dtype, purpose, fill or 0)
        return image

    def enter(self, x: Array, halo: int) -> Activation:
        """Planes, float32 of shape (C, H, W), as an image."""
        channels, height, width = x.shape
        values = self.room(channels if channels <= FEW else padded(channels), height, width, halo)
        kernels.enter(x, values, halo)
        return Activation(channels, height, width, values, halo)

    def with_values(self, x: Activation, halo: int) -> Activation:
        """The same with at least `halo` pixels around."""
        if x.halo >= halo:
            return x
        values = self.room(x.values.shape[2], x.height, x.width, halo)
        inside = values[halo : halo + x.height, halo : halo + x.width]
        inside[:] = x.values[x.halo : x.halo + x.height, x.halo : x.halo + x.width]
        return replace(x, values=values, halo=halo)

    def with_levels(self, x: Activation, quantization: Quantization, halo: int) -> Activation:
        """The same rounded, with at least `halo` pixels around."""
        if x.quantization == quantization and x.levels_halo >= halo:
            return x
        levels = self.room(x.values.shape[2], x.height, x.width, halo, fill=-quantization.lowest)
        lowest, highest = np.float32(quantization.lowest), np.float32(quantization.highest)
        kernels.round_levels(
            x.values, x.halo, quantization.inverse_step, lowest, highest, levels, halo, x.height, x.width
        )
        return replace(x, levels=levels, levels_halo=halo, quantization=quantization)


def padded(count: int, whole: int = LANES) -> int:
    """`count`, filled up to whole vectors."""
    return -(-count // whole) * whole


def ones(count: int) -> tuple[int, ...]:
    """A tuple whose length tells the compiler a number."""
    return (1,) * count


class Convolution:
    """A layer's convolution with its epilogue.

    Parameters
    ----------
    layer : Layer
    quantization : Quantization, optional
        Of the layer's input, if it computes with integers: 64 levels at most are 6 bits, else 8.
    wanted : Wanted
    workspace : Workspace
        Where memory comes from, shared with other layers.
    """

    def __init__(
        self, layer: Layer, quantization: Quantization | None, wanted: Wanted, workspace: Workspace
    ) -> None:
        self.quantization, self.wanted, self.images = quantization, wanted, Images(workspace)
        self.shuffle = layer.shuffle
        count, _, self.size, _ = layer.filters.shape
        self.outputs = count // self.shuffle**2  # channels after the pixel shuffle
        filters, epilogue = layer.filters, layer.epilogue
        if quantization is not None:
            epilogue = epilogue.times(quantization.step)
            if not layer.binary:
                filters, scales = quantize_filters(filters)
                epilogue = epilogue.times(scales)
        self.binary = layer.binary
        self.few = not layer.binary and count <= FEW and self.shuffle == 1 and wanted.quantization is None
        if self.few:
            self._prepare_few(filters)
            self.epilogue = epilogue
            return
        # Phases of the pixel shuffle one behind the other, each filled up to whole vectors.
        channels, phases = padded(self.outputs), self.shuffle**2
        order = np.full((phases, channels), -1)
        order[:, : self.outputs] = np.arange(count).reshape(self.outputs, phases).T
        self.order = order.ravel()
        real = self.order >= 0
        arranged = np.zeros((len(self.order), *filters.shape[1:]), filters.dtype)
        arranged[real] = filters[self.order[real]]
        if self.binary:
            self._prepare_binary(arranged)
        else:
            self._prepare_float(arranged)
        self.epilogue = Epilogue(*(self._arranged(v) for v in (epilogue.scale, epilogue.bias, epilogue.slope)))

    def _arranged(self, values: Array) -> Array:
        """Values of the layer's outputs in the kernel's order, zero for what fills it up."""
        arranged = np.zeros(self.room, np.float32)
        real = np.flatnonzero(self.order >= 0)
        arranged[real] = values[self.order[real]]
        return arranged

    def _block(self, count: int, lanes: int) -> tuple[int, int]:
        """Outputs in all, filled up to whole blocks, and vectors of `lanes` outputs in a block."""
        block = min(BLOCK, padded(count, lanes))
        return padded(count, block), block // lanes

    def _prepare_float(self, filters: NDArray) -> None:
        self.room, vectors = self._block(len(filters), LANES)
        taps = filters.transpose(2, 3, 1, 0).astype(filters.dtype)  # row, column, input, output
        inputs = taps.shape[2]
        four = 4 if filters.dtype == np.int8 else 1
        whole = np.zeros((self.size, self.size, padded(inputs, four), self.room), filters.dtype)
        whole[:, :, :inputs, : len(filters)] = taps
        steps = whole.reshape(-1, four, self.room // (vectors * LANES), vectors, LANES)
        blocks = steps.transpose(2, 0, 3, 4, 1).reshape(steps.shape[2], len(steps), vectors, LANES * four)
        self.weights = aligned(blocks)
        self._microkernel(vectors, vectors)
        self.initial = aligned(self._initial(filters))

    def _prepare_few(self, filters: NDArray) -> None:
        self.room, count = len(filters), len(filters)
        lanes = 64 if filters.dtype == np.int8 else LANES
        taps = filters.transpose(2, 3, 1, 0)
        whole = np.zeros((self.size, self.size, padded(taps.shape[2], lanes), count), filters.dtype)
        whole[:, :, : taps.shape[2]] = taps
        steps = whole.reshape(1, -1, lanes, count)
        self.weights = aligned(steps.transpose(0, 1, 3, 2))
        self._microkernel(count, count)
        self.initial = aligned(self._initial(filters))

    def _prepare_binary(self, filters: NDArray[np.bool_]) -> None:
        quantization = self.quantization
        wide = quantization is not None and quantization.highest - quantization.lowest > 63
        self.room, vectors = self._block(len(filters), 2 * LANES if wide else LANES)
        if quantization is None:
            self.indexed = index_float32(filters, self.room, vectors)
        elif wide:
            self.indexed = index_int8(filters, self.room, vectors, quantization)
        else:
            self.indexed = index_int6(filters, self.room, vectors, quantization)
        self.initial = aligned(self.indexed.initial)
        self._microkernel(vectors, vectors)

    def _microkernel(self, vectors: int, sums: int) -> None:
        self.vectors = ones(vectors)
        accumulators = 16 if self.binary and self.quantization is None else ACCUMULATORS  # two registers a table
        self.pixels = ones(min(12, accumulators // sums))

    def _initial(self, filters: NDArray) -> NDArray:
        if self.quantization is None:
            return np.zeros(self.room, np.float32)
        initial = np.zeros(self.room, np.int32)
        initial[: len(filters)] = self.quantization.lowest * filters.astype(np.int64).sum(axis=(1, 2, 3))
        return initial

    def __call__(
        self,
        x: Array | Activation,
        *,
        shuffle: int = 1,
        residual: Array | Activation | None = None,
        residual_scale: float = 1.0,
    ) -> Array | Activation:
        """Run on planes, float32 of shape (C, H, W), or on an activation; see `pipeline.engine.networks.Ops.conv`."""
        assert shuffle == self.shuffle
        halo, images = self.size // 2, self.images
        if not isinstance(x, Activation):
            x = images.enter(x, halo)
        if self.quantization is None:
            x = images.with_values(x, halo)
            image, image_halo = x.values, x.halo
        else:
            x = images.with_levels(x, self.quantization, halo)
            image, image_halo = x.levels, x.levels_halo
        height, width = x.height * shuffle, x.width * shuffle
        if residual is not None and not isinstance(residual, Activation):
            residual = images.enter(residual, 0)
        if residual is not None and not self.few and residual.values.shape[2] % LANES:
            residual = self._widened(residual)
        out, out_halo, planes = NO_VALUES, self.wanted.halo or 0, NO_VALUES
        if self.wanted.planes and self.few:
            planes = np.empty((self.outputs, height, width), np.float32)
        elif self.wanted.planes or self.wanted.halo is not None or self.wanted.quantization is None:
            out = images.room(padded(self.outputs), height, width, out_halo)
        levels, levels_halo, numbers = NO_LEVELS, self.wanted.levels_halo, [residual_scale, 0.0, 0.0, 0.0]
        if (rounded := self.wanted.quantization) is not None:
            levels = images.room(padded(self.outputs), height, width, levels_halo, fill=-rounded.lowest)
            numbers[1:] = [rounded.inverse_step, rounded.lowest, rounded.highest]
        added = NO_VALUES if residual is None else residual.values
        then = kernels.Then(
            initial=self.initial,
            scale=self.epilogue.scale,
            bias=self.epilogue.bias,
            slope=self.epilogue.slope,
            numbers=np.array(numbers, np.float32),
            height=x.height,
            width=x.width,
            shuffle=shuffle,
            residual=added,
            residual_halo=0 if residual is None else residual.halo,
            residual_places=self._places(added),
            out=out,
            out_halo=out_halo,
            out_places=self._places(out),
            levels=levels,
            levels_halo=levels_halo,
            levels_places=self._places(levels),
        )
        self._run(image, image_halo, then, planes)
        if planes.size:
            return planes
        if self.wanted.planes:
            planes = np.empty((self.outputs, height, width), np.float32)
            kernels.leave(out, out_halo, planes)
            return planes
        return Activation(self.outputs, height, width, out, out_halo, levels, levels_halo, rounded)

    def _widened(self, x: Activation) -> Activation:
        """The same with whole vectors of channels."""
        values = self.images.room(padded(x.channels), x.height, x.width, x.halo)
        values[: x.values.shape[0], :, : x.channels] = x.values[: values.shape[0], :, : x.channels]
        return replace(x, values=values)

    def _places(self, image: NDArray) -> NDArray[np.int64]:
        """Where each vector's first channel lies from its first pixel, in elements of an image."""
        channels = padded(self.outputs)
        phase, vector = np.divmod(np.arange(self.shuffle**2 * channels // LANES), channels // LANES)
        down, right = np.divmod(phase, self.shuffle)
        return ((down * image.shape[1] + right) * image.shape[2] + vector * LANES).astype(np.int64)

    def _run(self, image: NDArray, halo: int, then: kernels.Then, planes: Array) -> None:
        workers = min(get_num_threads(), then.height)
        workspace, weights, size = self.images.workspace, getattr(self, "weights", None), self.size
        pixels, vectors = self.pixels, self.vectors
        dtype = self.initial.dtype.type
        if not self.binary:
            sums = workspace.array((workers, len(pixels) * BLOCK), dtype, "sums")
        if self.few:
            kernels.convolve_few(image, halo, weights, size, pixels, vectors, then, planes, sums, workers)
        elif not self.binary:
            kernels.convolve(image, halo, weights, size, pixels, vectors, then, sums, workers)
        else:
            indexed = self.indexed
            index_bytes = indexed.indices.itemsize
            strip = padded(min(STRIP[index_bytes], then.width), len(pixels))
            table_bytes = 128 if index_bytes == 4 else 64
            wanted = size * len(indexed.constants) * (strip + size - 1) * table_bytes
            tables = workspace.array((workers, wanted), np.uint8, "tables")
            sums = workspace.array((workers, strip * self.room), dtype, "sums")
            kernels.convolve_binary(
                image, halo, indexed.indices, indexed.constants, size, indexed.at_once, pixels, vectors, then, tables,
                strip, sums, workers,
            )  # fmt: skip
