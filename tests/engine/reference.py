"""The engine's arithmetic in plain NumPy: the definitions that every kernel is tested against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.epilogue import Epilogue
from pipeline.engine.layers import Layer
from pipeline.engine.networks import Array
from pipeline.engine.quantization import Quantization, Rounding, quantize, with_steps


def convolution(x: NDArray, filters: NDArray) -> NDArray:
    """Convolve x with filters (a cross-correlation), zeros around the image, the output of the image's size.

    Parameters
    ----------
    x : shape (I, H, W), float or integer
    filters : shape (O, I, k, k), k odd; bool stands for ±1, True for +1

    Returns
    -------
    float64 (int64 for integers in), shape (O, H, W)
    """
    if filters.dtype == np.bool_:
        filters = np.where(filters, 1, -1)
    dtype = np.int64 if np.issubdtype(x.dtype, np.integer) else np.float64
    (_, height, width), k = x.shape, filters.shape[2]
    padded = np.pad(x.astype(dtype), ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    sums: NDArray = np.zeros((len(filters), height, width), dtype)
    for i in range(k):
        for j in range(k):
            tap = filters[:, :, i, j].astype(dtype)
            sums += np.tensordot(tap, padded[:, i : i + height, j : j + width], axes=1)
    return sums


def pixel_shuffle(x: NDArray, factor: int) -> NDArray:
    """Rearrange (C·f², H, W) to (C, f·H, f·W), as `torch.nn.PixelShuffle`."""
    channels, height, width = x.shape
    x = x.reshape(channels // factor**2, factor, factor, height, width)
    return x.transpose(0, 3, 1, 4, 2).reshape(-1, height * factor, width * factor)


def finish(
    sums: NDArray, epilogue: Epilogue, shuffle: int = 1, residual: Array | None = None, residual_scale: float = 1.0
) -> Array:
    """Apply a convolution's epilogue, pixel shuffle and residual to its sums, in float64."""
    scale, bias, slope = (v.astype(np.float64)[:, None, None] for v in (epilogue.scale, epilogue.bias, epilogue.slope))
    y = scale * sums + bias
    y = pixel_shuffle(np.where(y > 0, y, slope * y), shuffle)
    return (y if residual is None else residual + residual_scale * y).astype(np.float32)


def to_bfloat16(x: Array) -> Array:
    """Round to 8 significant bits, halves to even."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    return np.ldexp(np.rint(mantissa * 256), exponent - 8).astype(np.float32)


class ReferenceOps:
    """The networks' operation by the definitions above.

    Parameters
    ----------
    layers : dict of str to Layer
    roundings : dict of str to Rounding
        Of the inputs of those layers that do not compute in float32; a float layer's filters are then rounded too.
    """

    def __init__(self, layers: Mapping[str, Layer], roundings: Mapping[str, Rounding]) -> None:
        self.layers, self.roundings = layers, roundings

    def conv(self, layer: str, x: Array, *, norm: Any = None, activation: Any = None, **then: Any) -> Array:
        """See `pipeline.engine.networks.Ops.conv`; `norm` and `activation` are in the layer's epilogue."""
        filters, epilogue = self.layers[layer].filters, self.layers[layer].epilogue
        if layer not in self.roundings:
            return finish(convolution(x, filters), epilogue, **then)
        quantization = self.roundings[layer]
        if not isinstance(quantization, Quantization):
            return finish(convolution(to_bfloat16(x), to_bfloat16(filters)), epilogue, **then)
        filters, steps = with_steps(filters, quantization)
        return finish(convolution(quantize(x, quantization), filters), epilogue.times(steps), **then)
