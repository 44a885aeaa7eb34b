"""Convolutions by the kernels of `pipeline.engine.kernels.channel.compiled`, with their epilogues."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.epilogue import Epilogue
from pipeline.engine.kernels.channel.compiled import LANES, EpilogueArguments, image_to_planes, tiles_supported
from pipeline.engine.kernels.channel.filters import (
    FEW,
    BinaryFilters,
    BitFilters,
    FewFilters,
    Filters,
    FloatFilters,
    TileFilters,
)
from pipeline.engine.kernels.channel.images import (
    NO_LEVELS,
    NO_VALUES,
    Activation,
    Images,
    inverse_steps,
    padded,
    stored,
)
from pipeline.engine.layers import Layer
from pipeline.engine.networks import Array
from pipeline.engine.output_formats import Method, OutputFormat
from pipeline.engine.quantization import Quantization, Rounding, bfloat16, with_steps
from pipeline.engine.steps import Step
from pipeline.engine.workspace import Workspace

NO_STEPS = np.empty(0, np.float32)


class Convolution:
    """A layer's convolution with its epilogue.

    Parameters
    ----------
    layer : Layer
    rounding : Rounding, optional
        Rounding of the layer's input, if it does not compute in float32.
    output_format : OutputFormat
    workspace : Workspace
        Buffers, shared with the other layers.
    method : {"auto", "tables", "popcount"}
        See `pipeline.engine.Engine`; signs always use popcount.
    """

    def __init__(
        self,
        layer: Layer,
        rounding: Rounding | None,
        output_format: OutputFormat,
        workspace: Workspace,
        method: Method = "auto",
    ) -> None:
        self.rounding, self.output_format, self.workspace = rounding, output_format, workspace
        self.shuffle = layer.shuffle
        count, inputs, self.size, _ = layer.filters.shape
        self.outputs = count // self.shuffle**2  # channels after the pixel shuffle
        filters, epilogue = layer.filters, layer.epilogue
        quantization = rounding if isinstance(rounding, Quantization) else None
        if quantization is not None:
            filters, steps = with_steps(filters, quantization)
            epilogue = epilogue.times(steps)
        elif rounding is not None:
            filters = bfloat16(filters)
        self.few = not layer.binary and count <= FEW and self.shuffle == 1 and output_format.rounding is None
        # The first layer's few channels would leave most of a tile empty.
        tiles = method == "auto" and tiles_supported() and (rounding is not None or inputs >= LANES or layer.binary)
        self.filters: Filters
        self.inverse_steps = NO_STEPS
        if self.few:
            self.epilogue = epilogue
            if tiles and rounding is not None and count * self.size <= 2 * LANES:
                self.filters = TileFilters(filters, quantization, few=True)
            else:
                self.filters = FewFilters(filters, quantization)
            return
        # The phases of the pixel shuffle in sequence, each padded to whole vectors.
        order = np.full((self.shuffle**2, padded(self.outputs)), -1)
        order[:, : self.outputs] = np.arange(count).reshape(self.outputs, -1).T
        arranged = _arranged(filters, order.ravel(), order.size)
        if quantization is not None and layer.binary and (quantization.signs or method == "popcount"):
            self.filters = BitFilters(arranged, quantization)
        elif tiles:
            self.filters = TileFilters(arranged, quantization)
        else:
            self.filters = (BinaryFilters if layer.binary else FloatFilters)(arranged, quantization)
        vectors = (epilogue.scale, epilogue.bias, epilogue.slope)
        self.epilogue = Epilogue(*(_arranged(v, order.ravel(), self.filters.outputs) for v in vectors))
        if isinstance(output_format.rounding, Quantization):
            each = np.tile(inverse_steps(output_format.rounding, order.shape[1]), len(order))
            self.inverse_steps = _arranged(each, np.arange(len(each)), self.filters.outputs)

    def __call__(
        self, x: Array | Activation, *, residual: Array | Activation | None = None, **arguments: Any
    ) -> Array | Activation:
        """Run once; the parameters are those of `prepare`."""
        return self.prepare(x, residual=residual, **arguments)(x, residual)

    def prepare(
        self,
        x: Array | Activation,
        *,
        shuffle: int = 1,
        residual: Array | Activation | None = None,
        residual_scale: float = 1.0,
    ) -> Step:
        """Prepare for planes, float32 of shape (C, H, W), or an activation; see `pipeline.engine.networks.Ops.conv`."""
        assert shuffle == self.shuffle
        output_format, step = self.output_format, Step(self.workspace)
        images = Images(step)
        image, halo, x = self._input(images, x)
        height, width = x.height * shuffle, x.width * shuffle
        added = self._added(images, residual)
        shape = self.outputs, height, width
        planes = step.buffer(shape, np.float32, "planes", kept=True) if output_format.planes else NO_VALUES
        out, out_halo = NO_VALUES, output_format.halo or 0
        if output_format.halo is not None or (output_format.planes and not self.few):
            out = images.buffer(padded(self.outputs), height, width, out_halo, kept=not output_format.planes)
        levels, levels_halo, limits = NO_LEVELS, output_format.levels_halo, (np.float32(0), np.float32(0))
        if (rounding := output_format.rounding) is not None:
            levels = images.levels_buffer(padded(self.outputs), height, width, levels_halo, rounding, kept=True)
            if isinstance(rounding, Quantization):
                limits = stored(rounding)
        epilogue = EpilogueArguments(
            initial=self.filters.initial,
            scale=self.epilogue.scale,
            bias=self.epilogue.bias,
            slope=self.epilogue.slope,
            numbers=np.array([residual_scale, *limits], np.float32),
            inverse_steps=self.inverse_steps,
            height=x.height,
            width=x.width,
            shuffle=shuffle,
            residual=added.values,
            residual_halo=added.halo,
            residual_offsets=self._vector_offsets(added.values),
            out=out,
            out_halo=out_halo,
            out_offsets=self._vector_offsets(out),
            levels=levels,
            levels_halo=levels_halo,
            levels_offsets=self._vector_offsets(levels),
        )
        self.filters.prepare(step, image, halo, epilogue, planes if self.few else NO_VALUES)
        if output_format.planes:
            if not self.few:
                step.call(image_to_planes, out, out_halo, planes)
            return step.finish(planes)
        return step.finish(
            Activation(self.outputs, height, width, out, out_halo, levels, levels_halo, output_format.rounding)
        )

    def _input(self, images: Images, x: Array | Activation) -> tuple[NDArray, int, Activation]:
        """Return the image that the kernel reads, its halo, and the activation that it belongs to."""
        halo = self.size // 2
        if not isinstance(x, Activation):
            x, images.step.load = images.from_planes(x.shape, halo)
        if isinstance(self.filters, TileFilters):
            x = images.with_whole_vectors(x)
        if self.rounding is None:
            x = images.with_values(x, halo)
            return x.values, x.halo, x
        x = images.with_levels(x, self.rounding, halo)
        return x.levels, x.levels_halo, x

    def _added(self, images: Images, residual: Array | Activation | None) -> Activation:
        if residual is None:
            return Activation(0, 0, 0, NO_VALUES, 0)
        if not isinstance(residual, Activation):
            residual, images.step.load_residual = images.from_planes(residual.shape, 0)
        return residual if self.few else images.with_whole_vectors(residual)

    def _vector_offsets(self, image: NDArray) -> NDArray[np.int64]:
        """Return the offset of each vector's first channel from its first pixel, in elements of an image."""
        vectors = padded(self.outputs) // LANES
        phase, vector = np.divmod(np.arange(self.shuffle**2 * vectors), vectors)
        down, right = np.divmod(phase, self.shuffle)
        return ((down * image.shape[1] + right) * image.shape[2] + vector * LANES).astype(np.int64)


def _arranged(values: NDArray, order: NDArray, length: int) -> NDArray:
    """Reorder `values`, padded with zeros to `length` and where `order` is -1."""
    arranged = np.zeros((length, *values.shape[1:]), values.dtype)
    present = np.flatnonzero(order >= 0)
    arranged[present] = values[order[present]]
    return arranged
