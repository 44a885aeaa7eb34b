"""The epilogue of a convolution: scale, bias, PReLU, skip, and rounding for the next layer."""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg,var-annotated"

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.kernels.parallel import compiled
from pipeline.engine.kernels.pixel.compiled.vectors import VECTOR_BYTES

Array = NDArray[np.float32]


class EpilogueArguments(NamedTuple):
    """The arguments of the epilogue: its parameters, and the images that it reads and writes.

    Attributes
    ----------
    scale, bias, slope : float32, shape (O,)
        See `pipeline.engine.epilogue.Epilogue`.
    residual : float32, shape of `out`
        The image that ``residual_scale`` times the result is added to; empty for none.
    residual_scale : float32
    shuffle : int
        Factor of the pixel shuffle; 1 for none.
    height, width : int
        Size of the image before the pixel shuffle.
    out : float32, shape (O / shuffle², shuffle·height, shuffle·width)
        Written; empty if no layer reads it.
    quantized : int16, shape (at least O, at least height + 2 halo, at least width + 2 halo)
        Also written, for the next layer, as by `pad_quantized`; empty for none, and with a pixel shuffle.
    halo : int
    inverse_step : float32
        Inverse of the next layer's step.
    lowest, highest : float32
        The range that levels are clipped to.
    """

    scale: Array
    bias: Array
    slope: Array
    residual: Array
    residual_scale: np.float32
    shuffle: int
    height: int
    width: int
    out: Array
    quantized: NDArray[np.int16]
    halo: int
    inverse_step: np.float32
    lowest: np.float32
    highest: np.float32


@compiled
def tiling(epilogue, rows, columns):
    """Return the number of tiles across, and in all."""
    across = -(-epilogue.width // columns)
    return across, across * -(-epilogue.height // rows)


@compiled
def first_aligned(array):
    """Return the address of the first aligned vector in an array."""
    return array.ctypes.data + -array.ctypes.data % VECTOR_BYTES


@compiled
def finish(sums, base, first, last, top, left, rows, lanes, epilogue):
    """Run the epilogue for the output channels first..last-1 of a tile, whose sums begin at `base`."""
    height, width, shuffle, halo = epilogue.height, epilogue.width, epilogue.shuffle, epilogue.halo
    residual_scale, inverse_step = epilogue.residual_scale, epilogue.inverse_step
    tile_rows, columns = min(rows, height - top), np.uint64(min(lanes, width - left))
    written, rest, stride = epilogue.out.reshape(-1), epilogue.residual.reshape(-1), np.uint64(shuffle)
    levels, (_, plane_rows, pitch) = epilogue.quantized.reshape(-1), epilogue.quantized.shape
    zero, low, high = np.float32(0), epilogue.lowest, epilogue.highest
    values = np.empty(lanes, np.float32)
    for o in range(first, last):
        scale, bias, slope = epilogue.scale[o], epilogue.bias[o], epilogue.slope[o]
        phase = o % (shuffle * shuffle)
        for row in range(tile_rows):
            y = (o // (shuffle * shuffle) * height + top + row) * shuffle + phase // shuffle
            target = np.uint64((y * width + left) * shuffle + phase % shuffle)
            source = np.uint64(base + ((o - first) * rows + row) * lanes)
            for i in range(columns):
                value = scale * np.float32(sums[source + i]) + bias
                values[i] = value if value > zero else slope * value
            if rest.size:
                for i in range(columns):
                    values[i] = rest[target + i * stride] + residual_scale * values[i]
            if written.size:
                for i in range(columns):
                    written[target + i * stride] = values[i]
            if levels.size:
                place = np.uint64((o * plane_rows + halo + top + row) * pitch + halo + left)
                for i in range(columns):
                    levels[place + i] = np.int16(min(max(np.rint(values[i] * inverse_step), low), high))
