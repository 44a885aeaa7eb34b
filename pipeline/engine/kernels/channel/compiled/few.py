"""Filters in float32, bfloat16 or int8 of few outputs; lanes are input channels."""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg,var-annotated"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.kernels.channel.compiled.accumulation import accumulate_few
from pipeline.engine.kernels.channel.compiled.epilogue import Array, EpilogueArguments
from pipeline.engine.kernels.channel.compiled.vectors import VECTOR_BYTES
from pipeline.engine.kernels.emit import take
from pipeline.engine.kernels.parallel import call_on_workers, compiled


@compiled
def convolve_few(
    image: NDArray, halo: int, weights: NDArray, size: int, pixels: tuple, outputs: tuple, epilogue: EpilogueArguments,
    planes: Array, sums: NDArray, rows: int, counter: NDArray[np.int64],
) -> None:  # fmt: skip
    """Convolve with float filters of few outputs; lanes are input channels. No pixel shuffle, no output in levels.

    Parameters are those of `convolve`, except

    weights : float32, int16 or int8, shape (1, steps, O, 16, 32 or 64)
        Steps are in the order (row, column, vector of channels).
    outputs : tuple of int
        Its length is the number of outputs.
    planes : float32, shape (O, height, width)
        The output; if empty, ``epilogue.out`` is written instead.
    """
    counter[0] = 0
    call_on_workers(
        _convolve_few, len(sums), (image, halo, weights, size, pixels, outputs, epilogue, planes, sums, rows, counter)
    )


@compiled
def _convolve_few(worker, image, halo, weights, size, pixels, outputs, epilogue, planes, sums, rows, counter):
    sums = sums[worker]
    steps = weights.shape[1]
    _, columns, channels = image.shape
    item, count_of = image.itemsize, len(outputs)
    at_once = steps // (size * size)
    offsets = np.empty(steps, np.int64)
    for step in range(steps):
        tap = step // at_once
        offsets[step] = item * ((tap // size * columns + tap % size) * channels) + VECTOR_BYTES * (step % at_once)
    margin, zero = halo - size // 2, np.float32(0)
    top = rows * take(counter.ctypes.data)
    while top < epilogue.height:
        for y in range(top, min(top + rows, epilogue.height)):
            for x in range(0, epilogue.width, len(pixels)):
                source = image.ctypes.data + item * (((margin + y) * columns + margin + x) * channels)
                accumulate_few(
                    weights, pixels, outputs, source, item * channels, offsets.ctypes.data, weights.ctypes.data, steps,
                    epilogue.initial.ctypes.data, 0, sums.ctypes.data,
                )  # fmt: skip
                for pixel in range(min(len(pixels), epilogue.width - x)):
                    for o in range(count_of):
                        value = epilogue.scale[o] * np.float32(sums[pixel * count_of + o]) + epilogue.bias[o]
                        value = value if value > zero else epilogue.slope[o] * value
                        if epilogue.residual.size:
                            before = epilogue.residual[
                                epilogue.residual_halo + y, epilogue.residual_halo + x + pixel, o
                            ]
                            value = before + epilogue.numbers[0] * value
                        if planes.size:
                            planes[o, y, x + pixel] = value
                        else:
                            epilogue.out[epilogue.out_halo + y, epilogue.out_halo + x + pixel, o] = value
        top = rows * take(counter.ctypes.data)
