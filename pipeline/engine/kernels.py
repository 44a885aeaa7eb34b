"""The compiled kernels: convolutions of one image, tile by tile, with everything up to the next convolution.

All compiled functions are in this one file: Numba's cache on disk notices a change of the file that a kernel is in, not
of the files that it calls. Each is compiled at its first call, for one set of argument types.

Inner loops are written for LLVM's vectorizer: contiguous runs of one type, positions unsigned (a signed index may count
from the end, which hinders it). Results do not depend on the number of threads: a pixel's sum is always taken in the
same order, and tiles only share what they read.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange

from pipeline.engine.reference import LEVELS
from pipeline.engine.tables import CHANNELS, LOOK_UPS, SUMS

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


@njit(cache=True, parallel=True)
def convolve_float(x, weights, taps, tile, then):
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
    """
    workers = get_num_threads()
    for worker in prange(workers):
        _convolve_float(worker, workers, x, weights, taps, tile, then)


@njit(cache=True)
def _convolve_float(worker, workers, x, weights, taps, tile, then):
    rows, columns, kernel, pitch, run, span = tile
    buffer = np.zeros((x.shape[0], span), np.float32)
    sums = np.empty((OUTPUTS, run), np.float32)
    across, down = -(-x.shape[2] // columns), -(-x.shape[1] // rows)
    for index in range(worker, across * down, workers):
        top, left = index // across * rows, index % across * columns
        _load_tile(x, top - kernel // 2, left - kernel // 2, rows + kernel - 1, pitch, buffer)
        for block in range(weights.shape[0]):
            sums[:] = 0
            for step in range(weights.shape[1]):
                _add_products(sums.ravel(), buffer.ravel(), weights[block, step], taps[step], np.uint64(run))
            for i in range(min(OUTPUTS, then[0].size - block * OUTPUTS)):
                o = block * OUTPUTS + i
                _finish(sums[i], o, top, left, tile, x.shape, then)


@njit(cache=True, parallel=True)
def convolve_binary(x, offsets, tile, then):
    """Convolve with binary filters by the table method, all sums in float32.

    Parameters are those of `convolve_float`, but for

    offsets : uint64, shape (groups, passes, O, LOOK_UPS)
        See `pipeline.engine.tables.look_up_offsets`.
    """
    workers = get_num_threads()
    for worker in prange(workers):
        _convolve_binary(worker, workers, x, offsets, tile, then)


@njit(cache=True)
def _convolve_binary(worker, workers, x, offsets, tile, then):
    rows, columns, kernel, pitch, run, span = tile
    groups, passes, outputs, _ = offsets.shape
    buffer = np.zeros((groups * CHANNELS, span), np.float32)
    pairs = np.empty((8, span), np.float32)
    table = np.zeros((SUMS + 1, span), np.float32)
    sums = np.empty((outputs, run), np.float32)
    across, down = -(-x.shape[2] // columns), -(-x.shape[1] // rows)
    for index in range(worker, across * down, workers):
        top, left = index // across * rows, index % across * columns
        _load_tile(x, top - kernel // 2, left - kernel // 2, rows + kernel - 1, pitch, buffer)
        sums[:] = 0
        for group in range(groups):
            _build_table(buffer[group * CHANNELS : (group + 1) * CHANNELS], pairs, table)
            for p in range(passes):
                for o in range(outputs):
                    _add_look_ups(sums[o], table.ravel(), offsets[group, p, o], np.uint64(run))
        for o in range(outputs):
            _finish(sums[o], o, top, left, tile, x.shape, then)


@njit(cache=True, parallel=True)
def convolve_binary_int8(x, step, offsets, tile, then):
    """Convolve with binary filters by the table method, activations rounded to int8, all sums exact.

    Parameters are those of `convolve_binary`, and

    step : float32
        The activations become ``clip(rint(x / step), -127, 127)``, the sums that `scale` scales are theirs.
    """
    workers = get_num_threads()
    for worker in prange(workers):
        _convolve_binary_int8(worker, workers, x, step, offsets, tile, then)


@njit(cache=True)
def _convolve_binary_int8(worker, workers, x, step, offsets, tile, then):
    rows, columns, kernel, pitch, run, span = tile
    groups, passes, outputs, _ = offsets.shape
    buffer = np.zeros((groups * CHANNELS, span), np.float32)
    quantized = np.empty((groups * CHANNELS, span), np.int16)
    pairs = np.empty((8, span), np.int16)
    table = np.zeros((SUMS + 1, span), np.int16)
    partial = np.empty((outputs, run), np.int16)
    sums = np.empty((outputs, run), np.int32)
    across, down = -(-x.shape[2] // columns), -(-x.shape[1] // rows)
    for index in range(worker, across * down, workers):
        top, left = index // across * rows, index % across * columns
        _load_tile(x, top - kernel // 2, left - kernel // 2, rows + kernel - 1, pitch, buffer)
        _quantize(buffer.ravel(), step, quantized.ravel())
        sums[:] = 0
        partial[:] = 0
        pending = 0  # look-ups in `partial`
        for group in range(groups):
            _build_table(quantized[group * CHANNELS : (group + 1) * CHANNELS], pairs, table)
            for p in range(passes):
                if pending + LOOK_UPS > SAFE_LOOK_UPS:
                    _widen(partial.ravel(), sums.ravel())
                    pending = 0
                for o in range(outputs):
                    _add_look_ups(partial[o], table.ravel(), offsets[group, p, o], np.uint64(run))
                pending += LOOK_UPS
        _widen(partial.ravel(), sums.ravel())
        for o in range(outputs):
            _finish(sums[o], o, top, left, tile, x.shape, then)


@njit(cache=True)
def _load_tile(x, top, left, rows, pitch, buffer):
    """Copy each channel's `rows` rows of `pitch` pixels into a row of the buffer, zeros outside the image."""
    channels, height, width = x.shape
    first, last = max(left, 0), min(left + pitch, width)
    buffer[:] = 0
    for c in range(channels):
        for y in range(max(top, 0), min(top + rows, height)):
            start = (y - top) * pitch + first - left
            buffer[c, start : start + last - first] = x[c, y, first:last]


@njit(cache=True)
def _quantize(values, step, quantized):
    low, high = np.float32(-LEVELS), np.float32(LEVELS)
    for i in range(values.size):
        quantized[i] = np.int16(min(max(np.rint(values[i] / step), low), high))


@njit(cache=True)
def _build_table(channels, pairs, table):
    """Fill the rows of a table with the signed sums of four channels; bit i of a row's number is the sign of channel i."""
    for half in range(2):
        a, b = channels[2 * half], channels[2 * half + 1]
        neither, first, second, both = pairs[4 * half], pairs[4 * half + 1], pairs[4 * half + 2], pairs[4 * half + 3]
        for i in range(a.size):
            neither[i] = -a[i] - b[i]
            first[i] = a[i] - b[i]
            second[i] = b[i] - a[i]
            both[i] = a[i] + b[i]
    for index in range(SUMS):
        low, high, row = pairs[index & 3], pairs[4 + (index >> 2)], table[index]
        for i in range(row.size):
            row[i] = low[i] + high[i]


@njit(cache=True)
def _add_look_ups(sums, table, offsets, run):
    """Add `LOOK_UPS` shifted rows of the table to one output channel's sums: the inner loop of the table method."""
    a, b, c = offsets[0], offsets[1], offsets[2]
    d, e, f = offsets[3], offsets[4], offsets[5]
    g, h, i = offsets[6], offsets[7], offsets[8]
    for x in range(run):
        sums[x] += (
            ((table[a + x] + table[b + x]) + (table[c + x] + table[d + x]))
            + ((table[e + x] + table[f + x]) + (table[g + x] + table[h + x]))
        ) + table[i + x]


@njit(cache=True)
def _widen(partial, sums):
    for i in range(sums.size):
        sums[i] += partial[i]
        partial[i] = 0


@njit(cache=True, fastmath={"contract"})
def _add_products(sums, buffer, weights, taps, run):
    """Add `TAPS` shifted inputs, weighted, to the sums of `OUTPUTS` channels: the inner loop of the float convolution."""
    a, b, c = taps[0], taps[1], taps[2]
    second, third = run, run + run
    a0, a1, a2 = weights[0, 0], weights[0, 1], weights[0, 2]
    b0, b1, b2 = weights[1, 0], weights[1, 1], weights[1, 2]
    c0, c1, c2 = weights[2, 0], weights[2, 1], weights[2, 2]
    for x in range(run):
        u, v, w = buffer[a + x], buffer[b + x], buffer[c + x]
        sums[x] += a0 * u + b0 * v + c0 * w
        sums[second + x] += a1 * u + b1 * v + c1 * w
        sums[third + x] += a2 * u + b2 * v + c2 * w


@njit(cache=True)
def _finish(sums, o, top, left, tile, shape, then):
    """Write one output channel of a tile."""
    scale, bias, slope, residual, residual_scale, shuffle, out = then
    rows, columns, pitch = min(tile[0], shape[1] - top), min(tile[1], shape[2] - left), tile[3]
    phase = o % (shuffle * shuffle)
    channel, start = o // (shuffle * shuffle), left * shuffle + phase % shuffle
    for row in range(rows):
        values = sums[row * pitch : row * pitch + columns]
        y = (top + row) * shuffle + phase // shuffle
        if shuffle == 1:  # contiguous, hence vectorized
            target = out[channel, y, left : left + columns]
            _activate(values, scale[o], bias[o], slope[o], target)
            if residual.size:
                _add_residual(target, residual_scale, residual[channel, y, left : left + columns])
        else:
            stop = start + columns * shuffle
            target = out[channel, y, start:stop:shuffle]
            _activate(values, scale[o], bias[o], slope[o], target)
            if residual.size:
                _add_residual(target, residual_scale, residual[channel, y, start:stop:shuffle])


@njit(cache=True)
def _activate(sums, scale, bias, slope, out):
    for i in range(out.size):
        y = scale * np.float32(sums[i]) + bias
        out[i] = y if y > np.float32(0) else slope * y


@njit(cache=True)
def _add_residual(values, scale, residual):
    for i in range(values.size):
        values[i] = residual[i] + scale * values[i]
