"""Convolutions on `pipeline.engine.kernels.channel.compiled`, with their epilogues and what their readers want."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.epilogue import Epilogue
from pipeline.engine.kernels.channel.compiled import LANES, Then, leave
from pipeline.engine.kernels.channel.filters import FEW, BinaryFilters, BitFilters, FewFilters, Filters, FloatFilters
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
from pipeline.engine.quantization import Quantization, with_steps
from pipeline.engine.wanted import Method, Wanted
from pipeline.engine.workspace import Workspace

NO_STEPS = np.empty(0, np.float32)


class Convolution:
    """A layer's convolution with its epilogue.

    Parameters
    ----------
    layer : Layer
    quantization : Quantization, optional
        Of the layer's input, if it computes with integers.
    wanted : Wanted
    workspace : Workspace
        Where memory comes from, shared with other layers.
    method : {"tables", "popcount"}
        How a binary layer meets levels; signs are always counted.
    """

    def __init__(
        self,
        layer: Layer,
        quantization: Quantization | None,
        wanted: Wanted,
        workspace: Workspace,
        method: Method = "tables",
    ) -> None:
        self.quantization, self.wanted, self.images = quantization, wanted, Images(workspace)
        self.shuffle = layer.shuffle
        count, _, self.size, _ = layer.filters.shape
        self.outputs = count // self.shuffle**2  # channels after the pixel shuffle
        filters, epilogue = layer.filters, layer.epilogue
        if quantization is not None:
            filters, steps = with_steps(filters, quantization)
            epilogue = epilogue.times(steps)
        self.few = not layer.binary and count <= FEW and self.shuffle == 1 and wanted.quantization is None
        self.filters: Filters
        self.inverse_steps = NO_STEPS
        if self.few:
            self.filters, self.epilogue = FewFilters(filters, quantization), epilogue
            return
        # Phases of the pixel shuffle one behind the other, each filled up to whole vectors.
        order = np.full((self.shuffle**2, padded(self.outputs)), -1)
        order[:, : self.outputs] = np.arange(count).reshape(self.outputs, -1).T
        arranged = _arranged(filters, order.ravel(), order.size)
        if quantization is not None and layer.binary and (quantization.signs or method == "popcount"):
            self.filters = BitFilters(arranged, quantization)
        else:
            self.filters = (BinaryFilters if layer.binary else FloatFilters)(arranged, quantization)
        vectors = (epilogue.scale, epilogue.bias, epilogue.slope)
        self.epilogue = Epilogue(*(_arranged(v, order.ravel(), self.filters.outputs) for v in vectors))
        if wanted.quantization is not None:
            each = np.tile(inverse_steps(wanted.quantization, order.shape[1]), len(order))
            self.inverse_steps = _arranged(each, np.arange(len(each)), self.filters.outputs)

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
        wanted, images = self.wanted, self.images
        image, halo, x = self._input(x)
        height, width = x.height * shuffle, x.width * shuffle
        added = self._added(residual)
        planes = np.empty((self.outputs, height, width), np.float32) if wanted.planes else NO_VALUES
        out, out_halo = NO_VALUES, wanted.halo or 0
        if wanted.halo is not None or (wanted.planes and not self.few):
            out = images.room(padded(self.outputs), height, width, out_halo)
        levels, numbers = NO_LEVELS, [residual_scale, 0.0, 0.0]
        if wanted.quantization is not None:
            lowest, highest = stored(wanted.quantization)
            levels = images.levels_room(padded(self.outputs), height, width, wanted.levels_halo, int(-lowest))
            numbers[1:] = [float(lowest), float(highest)]
        then = Then(
            initial=self.filters.initial,
            scale=self.epilogue.scale,
            bias=self.epilogue.bias,
            slope=self.epilogue.slope,
            numbers=np.array(numbers, np.float32),
            inverse_steps=self.inverse_steps,
            height=x.height,
            width=x.width,
            shuffle=shuffle,
            residual=added.values,
            residual_halo=added.halo,
            residual_places=self._places(added.values),
            out=out,
            out_halo=out_halo,
            out_places=self._places(out),
            levels=levels,
            levels_halo=wanted.levels_halo,
            levels_places=self._places(levels),
        )
        self.filters.run(image, halo, then, planes if self.few else NO_VALUES, images.workspace)
        if wanted.planes:
            if not self.few:
                leave(out, out_halo, planes)
            return planes
        return Activation(self.outputs, height, width, out, out_halo, levels, wanted.levels_halo, wanted.quantization)

    def _input(self, x: Array | Activation) -> tuple[NDArray, int, Activation]:
        """What the kernel reads, and its halo."""
        halo = self.size // 2
        if not isinstance(x, Activation):
            x = self.images.enter(x, halo)
        if self.quantization is None:
            x = self.images.with_values(x, halo)
            return x.values, x.halo, x
        x = self.images.with_levels(x, self.quantization, halo)
        return x.levels, x.levels_halo, x

    def _added(self, residual: Array | Activation | None) -> Activation:
        if residual is None:
            return Activation(0, 0, 0, NO_VALUES, 0)
        if not isinstance(residual, Activation):
            residual = self.images.enter(residual, 0)
        return residual if self.few else self.images.with_whole_vectors(residual)

    def _places(self, image: NDArray) -> NDArray[np.int64]:
        """Where each vector's first channel lies from its first pixel, in elements of an image."""
        vectors = padded(self.outputs) // LANES
        phase, vector = np.divmod(np.arange(self.shuffle**2 * vectors), vectors)
        down, right = np.divmod(phase, self.shuffle)
        return ((down * image.shape[1] + right) * image.shape[2] + vector * LANES).astype(np.int64)


def _arranged(values: NDArray, order: NDArray, room: int) -> NDArray:
    """`values` in an order, zeros where it says -1 and behind it."""
    arranged = np.zeros((room, *values.shape[1:]), values.dtype)
    present = np.flatnonzero(order >= 0)
    arranged[present] = values[order[present]]
    return arranged
