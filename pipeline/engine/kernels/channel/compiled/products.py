"""Filters in float32, bfloat16 or int8; lanes are output channels."""

# Compiled functions need no annotations: Numba infers their types, and passes intrinsics their first argument.
# mypy: disallow_untyped_defs = False
# mypy: disable-error-code = "call-arg,var-annotated"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.kernels.channel.compiled.accumulation import accumulate
from pipeline.engine.kernels.channel.compiled.epilogue import EpilogueArguments, finish_block
from pipeline.engine.kernels.channel.compiled.vectors import LANES, VECTOR_BYTES
from pipeline.engine.kernels.emit import take
from pipeline.engine.kernels.parallel import call_on_workers, compiled


@compiled
def convolve(
    image: NDArray, halo: int, weights: NDArray, size: int, pixels: tuple, vectors: tuple, epilogue: EpilogueArguments,
    strip: int, sums: NDArray, rows: int, counter: NDArray[np.int64],
) -> None:  # fmt: skip
    """Convolve with filters in float32, bfloat16 or int8.

    Parameters
    ----------
    image : float32, int16 (bits of bfloat16; an even number of channels) or uint8, shape (rows, columns, channels)
        With a halo of at least ``size // 2`` pixels, and `SLACK_PIXELS` after its end.
    halo : int
    weights : float32, int16 or int8, shape (blocks, steps, V, 16, 32 or 64)
        For each block of V vectors of outputs and each step, the weights of one input channel (int16: two, int8: four)
        at one tap for 16 outputs per vector. Steps are in the order (row, column, channel).
    size : int
        Height and width of the filters.
    pixels, vectors : tuples of int
        Their lengths are the microkernel's pixels and vectors V; their contents do not matter.
    epilogue : EpilogueArguments
    strip : int
        Columns per call of the epilogue, a multiple of the microkernel's pixels.
    sums : float32 or int32, shape (workers, at least strip · V · 16), aligned
        Scratch memory; for binary filters, for all outputs.
    rows : int
        Rows that a worker takes at a time; small enough to balance cores whose speed varies on a shared machine.
    counter : int64, shape (1,)
        Scratch memory for counting the row bands that have been taken.
    """
    counter[0] = 0
    call_on_workers(
        _convolve, len(sums), (image, halo, weights, size, pixels, vectors, epilogue, strip, sums, rows, counter)
    )


@compiled
def _convolve(worker, image, halo, weights, size, pixels, vectors, epilogue, strip, sums, rows, counter):
    sums = sums[worker]
    blocks, steps = weights.shape[:2]
    _, columns, channels = image.shape
    item, outputs = image.itemsize, LANES * len(vectors)
    at_once = steps // (size * size)  # channels, or groups of two or four, at a tap
    offsets = np.empty(steps, np.int64)
    for step in range(steps):
        tap = step // at_once
        offsets[step] = item * ((tap // size * columns + tap % size) * channels) + 4 * (step % at_once)
    margin = halo - size // 2
    top = rows * take(counter.ctypes.data)
    while top < epilogue.height:
        for y in range(top, min(top + rows, epilogue.height)):
            for left in range(0, epilogue.width, strip):
                stop = min(left + strip, epilogue.width)
                for block in range(blocks):
                    block_weights = weights.ctypes.data + block * steps * VECTOR_BYTES * len(vectors)
                    for x in range(left, stop, len(pixels)):
                        source = image.ctypes.data + item * (((margin + y) * columns + margin + x) * channels)
                        accumulate(
                            weights, pixels, vectors, source, item * channels, offsets.ctypes.data, block_weights,
                            steps, epilogue.initial.ctypes.data + 4 * block * outputs, 0,
                            sums.ctypes.data + 4 * outputs * (x - left),
                        )  # fmt: skip
                    finish_block(sums, sums.ctypes.data, 4 * outputs, block, outputs, y, left, stop - left, epilogue)
        top = rows * take(counter.ctypes.data)
