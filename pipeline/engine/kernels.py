"""The compiled kernels: convolutions of one image, tile by tile, with everything up to the next convolution.

All compiled functions and blocking constants are in this one file: Numba's cache on disk notices a change of the file
that a kernel is in, not of those that it calls functions or reads constants from. A kernel is compiled at its first
call, for one set of argument types.

Inner loops are written for LLVM's vectorizer: contiguous runs of one type, positions unsigned (a signed index may count
from the end, which hinders it). Results do not depend on the number of threads: a pixel's sum is always taken in the
same order, and tiles only share what they read.

Each kernel is a loop over threads around the work of one. Its number is cast to the type that Numba first infers for it
outside of the parallel loop, which spares compiling the work twice.
"""

# The compiled functions' parts need no types of their own: Numba infers them.
# mypy: disallow_untyped_defs = False

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from pipeline.engine.reference import LEVELS

# The table method takes 4 channels together: a table of 16 sums just fits into a first-level cache; 8 channels would
# need 256 sums.
CHANNELS = 4
SUMS = 2**CHANNELS

# Look-ups in one pass over the accumulators: the more, the less they are loaded and stored; 9 are a 3x3 filter's taps.
LOOK_UPS = 9

# Values in a tile's run. The table of one channel group is 17 rows of a run and its halo, and it is read 9 times as
# often as anything else: 1 KiB a row keeps it (about 21 KiB) inside a first-level cache of 32 KiB.
FLOAT32_RUN = 256
INT16_RUN = 512

# The float convolution's block: 3 outputs by 3 taps. Its 9 weights, 3 sums and 3 inputs fit into the 16 registers of
# AVX2; 3 outputs waste nothing on the tails (64 to 3) and little elsewhere, 3 taps divide 9 and 81.
OUTPUTS = 3
TAPS = 3

# As many look-ups can be summed in int16 before they may overflow: each is a sum of 4 values within ±127.
SAFE_LOOK_UPS = 32767 // (CHANNELS * LEVELS)

Array = NDArray[np.float32]
Positions = NDArray[np.uint64]
Sizes = tuple[int, int, int, int, int, int]
Then = tuple[Array, Array, Array, Array, np.float32, int, Array]


@njit(cache=True, parallel=True)
def convolve_float(x: Array, weights: Array, taps: Positions, tile: Sizes, then: Then, workers: int) -> None:
    """Convolve with float filters.

    Parameters
    ----------
    x : float32, shape (I, H, W)
    weights : float32, shape (blocks, steps, TAPS, OUTPUTS)
        The filters of `OUTPUTS` output channels a block, over all input channels and taps, filled up with zeros.
    taps : uint64, shape (steps, TAPS)
        Where each weight's input begins in a tile's buffer of shape (I, span).
    tile : (rows, columns, kernel, pitch, run, span)
        See `pipeline.engine.tiles.Tiling`.
    then : (scale, bias, slope, residual, residual_scale, shuffle, out)
        What becomes of the sums. `scale`, `bias` and `slope` are float32 of shape (O,), see
        `pipeline.engine.epilogue.Epilogue`; `shuffle` is the factor of the pixel shuffle, 1 for none; `residual` is
        float32 of the shape of `out`, or empty for none, and `residual_scale` float32; `out`, float32 of shape
        (O / shuffle², shuffle·H, shuffle·W), is written.
    workers : int
        Threads to share the tiles.
    """
    for worker in prange(workers):
        _convolve_float(np.int64(worker), workers, x, weights, taps, tile, then)


@njit(cache=True)
def _convolve_float(worker, workers, x, weights, taps, tile, then):
    rows, columns, kernel, pitch, run, span = tile
    channels, height, width = x.shape
    outputs = then[0].size
    buffer = np.zeros(channels * span, np.float32)
    sums = np.empty(OUTPUTS * run, np.float32)
    across, down = -(-width // columns), -(-height // rows)
    for index in range(worker, across * down, workers):
        top, left = index // across * rows, index % across * columns
        _load_tile(x, top - kernel // 2, left - kernel // 2, rows + kernel - 1, pitch, buffer, span)
        for block in range(weights.shape[0]):
            sums[:] = 0
            _add_products(sums, buffer, weights[block], taps, np.uint64(run))
            first = block * OUTPUTS
            _finish(sums, first, min(first + OUTPUTS, outputs), top, left, height, width, tile, then)


@njit(cache=True, parallel=True)
def convolve_binary(x: Array, offsets: Positions, tile: Sizes, then: Then, workers: int) -> None:
    """Convolve with binary filters by the table method, all sums in float32.

    Parameters are those of `convolve_float`, but for

    offsets : uint64, shape (groups, passes, O, LOOK_UPS)
        See `pipeline.engine.tables.look_up_offsets`.
    """
    for worker in prange(workers):
        _convolve_binary(np.int64(worker), workers, x, offsets, tile, then)


@njit(cache=True)
def _convolve_binary(worker, workers, x, offsets, tile, then):
    rows, columns, kernel, pitch, run, span = tile
    (groups, passes, outputs, _), (_, height, width) = offsets.shape, x.shape
    buffer = np.zeros(groups * CHANNELS * span, np.float32)
    pairs = np.empty(8 * span, np.float32)
    table = np.zeros((SUMS + 1) * span, np.float32)
    sums = np.empty(outputs * run, np.float32)
    across, down = -(-width // columns), -(-height // rows)
    for index in range(worker, across * down, workers):
        top, left = index // across * rows, index % across * columns
        _load_tile(x, top - kernel // 2, left - kernel // 2, rows + kernel - 1, pitch, buffer, span)
        sums[:] = 0
        for group in range(groups):
            _build_table(buffer, group, pairs, table, np.uint64(span))
            for p in range(passes):
                _add_look_ups(sums, table, offsets[group, p], np.uint64(run))
        _finish(sums, 0, outputs, top, left, height, width, tile, then)


@njit(cache=True, parallel=True)
def convolve_binary_int8(x: Array, step: np.float32, offsets: Positions, tile: Sizes, then: Then, workers: int) -> None:
    """Convolve with binary filters by the table method, activations rounded to int8, all sums exact.

    Parameters are those of `convolve_binary`, and

    step : float32
        The activations become ``clip(rint(x / step), -127, 127)``, the sums that `scale` scales are theirs.
    """
    for worker in prange(workers):
        _convolve_binary_int8(np.int64(worker), workers, x, step, offsets, tile, then)


@njit(cache=True)
def _convolve_binary_int8(worker, workers, x, step, offsets, tile, then):
    rows, columns, kernel, pitch, run, span = tile
    (groups, passes, outputs, _), (_, height, width) = offsets.shape, x.shape
    buffer = np.zeros(groups * CHANNELS * span, np.float32)
    quantized = np.empty(groups * CHANNELS * span, np.int16)
    pairs = np.empty(8 * span, np.int16)
    table = np.zeros((SUMS + 1) * span, np.int16)
    partial = np.zeros(outputs * run, np.int16)
    sums = np.empty(outputs * run, np.int32)
    across, down = -(-width // columns), -(-height // rows)
    for index in range(worker, across * down, workers):
        top, left = index // across * rows, index % across * columns
        _load_tile(x, top - kernel // 2, left - kernel // 2, rows + kernel - 1, pitch, buffer, span)
        _quantize(buffer, step, quantized)
        sums[:] = 0
        pending = 0  # look-ups in `partial`
        for group in range(groups):
            _build_table(quantized, group, pairs, table, np.uint64(span))
            for p in range(passes):
                if pending + LOOK_UPS > SAFE_LOOK_UPS:
                    _widen(partial, sums)
                    pending = 0
                _add_look_ups(partial, table, offsets[group, p], np.uint64(run))
                pending += LOOK_UPS
        _widen(partial, sums)
        _finish(sums, 0, outputs, top, left, height, width, tile, then)


@njit(cache=True)
def _load_tile(x, top, left, rows, pitch, buffer, span):
    """Copy `rows` rows of `pitch` pixels of each channel, from (top, left) on; zeros outside the image."""
    channels, height, width = x.shape
    pixels = x.reshape(-1)
    first_row, last_row = max(top, 0), min(top + rows, height)
    first, last = max(left, 0), min(left + pitch, width)
    if last_row - first_row < rows or last - first < pitch:
        buffer[:] = 0
    for channel in range(channels):
        for y in range(first_row, last_row):
            source = np.uint64((channel * height + y) * width + first)
            target = np.uint64(channel * span + (y - top) * pitch + first - left)
            for i in range(np.uint64(last - first)):
                buffer[target + i] = pixels[source + i]


@njit(cache=True)
def _quantize(values, step, quantized):
    low, high = np.float32(-LEVELS), np.float32(LEVELS)
    for i in range(values.size):
        quantized[i] = np.int16(min(max(np.rint(values[i] / step), low), high))


@njit(cache=True)
def _build_table(channels, group, pairs, table, span):
    """Fill a table's rows with the signed sums of four channels; bit i of a row's number is the sign of channel i."""
    for half in range(2):
        a = np.uint64(CHANNELS * group + 2 * half) * span
        b = a + span
        neither = np.uint64(4 * half) * span
        first, second, both = neither + span, neither + span + span, neither + span + span + span
        for i in range(span):
            pairs[neither + i] = -channels[a + i] - channels[b + i]
            pairs[first + i] = channels[a + i] - channels[b + i]
            pairs[second + i] = channels[b + i] - channels[a + i]
            pairs[both + i] = channels[a + i] + channels[b + i]
    for index in range(SUMS):
        low, high, row = np.uint64(index & 3) * span, np.uint64(4 + (index >> 2)) * span, np.uint64(index) * span
        for i in range(span):
            table[row + i] = pairs[low + i] + pairs[high + i]


@njit(cache=True)
def _add_look_ups(sums, table, offsets, run):
    """Add `LOOK_UPS` shifted rows of the table to each output channel's sums: the table method's inner loop."""
    for output in range(offsets.shape[0]):
        o = np.uint64(output) * run
        a, b, c = offsets[output, 0], offsets[output, 1], offsets[output, 2]
        d, e, f = offsets[output, 3], offsets[output, 4], offsets[output, 5]
        g, h, i = offsets[output, 6], offsets[output, 7], offsets[output, 8]
        for x in range(run):
            sums[o + x] += (
                ((table[a + x] + table[b + x]) + (table[c + x] + table[d + x]))
                + ((table[e + x] + table[f + x]) + (table[g + x] + table[h + x]))
            ) + table[i + x]


@njit(cache=True)
def _widen(partial, sums):
    """Move the int16 sums over into the int32 sums."""
    for i in range(sums.size):
        sums[i] += partial[i]
        partial[i] = 0


@njit(cache=True, fastmath={"contract"})
def _add_products(sums, buffer, weights, taps, run):
    """Add all inputs, shifted and weighted, to the sums of `OUTPUTS` channels: the float convolution's inner loop."""
    second, third = run, run + run
    for step in range(weights.shape[0]):
        a, b, c = taps[step, 0], taps[step, 1], taps[step, 2]
        a0, a1, a2 = weights[step, 0, 0], weights[step, 0, 1], weights[step, 0, 2]
        b0, b1, b2 = weights[step, 1, 0], weights[step, 1, 1], weights[step, 1, 2]
        c0, c1, c2 = weights[step, 2, 0], weights[step, 2, 1], weights[step, 2, 2]
        for x in range(run):
            u, v, w = buffer[a + x], buffer[b + x], buffer[c + x]
            sums[x] += a0 * u + b0 * v + c0 * w
            sums[second + x] += a1 * u + b1 * v + c1 * w
            sums[third + x] += a2 * u + b2 * v + c2 * w


@njit(cache=True)
def _finish(sums, first, last, top, left, height, width, tile, then):
    """Write the output channels first..last-1 of a tile, whose sums these are."""
    scales, biases, slopes, residual, residual_scale, shuffle, out = then
    rows, columns, _, pitch, run, _ = tile
    rows, columns = min(rows, height - top), np.uint64(min(columns, width - left))
    written, rest, stride = out.reshape(-1), residual.reshape(-1), np.uint64(shuffle)
    zero = np.float32(0)
    for o in range(first, last):
        scale, bias, slope = scales[o], biases[o], slopes[o]
        phase = o % (shuffle * shuffle)
        for row in range(rows):
            y = (o // (shuffle * shuffle) * height + top + row) * shuffle + phase // shuffle
            target = np.uint64((y * width + left) * shuffle + phase % shuffle)
            source = np.uint64((o - first) * run + row * pitch)
            if rest.size:
                for i in range(columns):
                    value = scale * np.float32(sums[source + i]) + bias
                    value = value if value > zero else slope * value
                    written[target + i * stride] = rest[target + i * stride] + residual_scale * value
            else:
                for i in range(columns):
                    value = scale * np.float32(sums[source + i]) + bias
                    written[target + i * stride] = value if value > zero else slope * value
