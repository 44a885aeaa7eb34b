"""Binary filters as indices into tables of signed sums in registers.

A binary filter only adds or subtracts activations. A few channels of one pixel have only a few signed sums, and a
filter's bits are the index of one of them (the method of four Russians). The table depends on neither the filter nor
the tap, so that the tables of a pixel serve all filters at all taps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.kernels.channel.compiled import LANES, SAFE_LOOK_UPS
from pipeline.engine.quantization import Quantization
from pipeline.engine.workspace import aligned

MIDDLE = 128  # origin of the levels of four of the five channels, which keeps their sums small
TOP = 63  # the highest level of 6 bits
FLOAT_GROUPS = 4


@dataclass(frozen=True)
class Indexed:
    """Binary filters as arguments of `pipeline.engine.kernels.channel.compiled.convolve_binary`.

    Attributes
    ----------
    indices : uint32, uint16 or uint8, shape (blocks, steps, V, lanes)
    constants : uint8, shape (groups, bytes)
    at_once : int
    initial : float32 or int32, shape (outputs,)
        Initial sums, which correct for the origin of the levels.
    """

    indices: NDArray
    constants: NDArray[np.uint8]
    at_once: int
    initial: NDArray


def _grouped(filters: NDArray[np.bool_], outputs: int, channels: int) -> NDArray[np.int64]:
    """Return filters as 0 or 1 by (group, tap, output, channel), padded to `outputs` and whole groups of `channels`."""
    present, inputs, k, _ = filters.shape
    groups = -(-inputs // channels)
    bits = np.zeros((outputs, groups * channels, k * k), np.int64)
    bits[:present, :inputs] = filters.reshape(present, inputs, k * k)
    return bits.reshape(outputs, groups, channels, k * k).transpose(1, 3, 0, 2)


def _blocks(indices: NDArray, vectors: int, lanes: int) -> NDArray:
    """Rearrange indices from (group, tap, output) to (blocks, steps, V, lanes)."""
    groups, taps, outputs = indices.shape
    indices = indices.reshape(groups * taps, outputs // (vectors * lanes), vectors, lanes)
    return aligned(indices.transpose(1, 0, 2, 3))


def _signs(inputs: int, groups: int, channels: int) -> NDArray[np.int64]:
    """Return the channels' signs by group and table entry (bit i set: +1 for channel i); 0 for absent channels."""
    entries = np.arange(1 << channels)[:, None] >> np.arange(channels) & 1
    present = np.arange(groups * channels).reshape(groups, 1, channels) < inputs
    return (2 * entries - 1) * present


def _bytes(*parts: NDArray) -> NDArray[np.uint8]:
    """Concatenate the bytes of arrays, by group."""
    flat = [np.ascontiguousarray(part).reshape(len(part), -1).view(np.uint8) for part in parts]
    return aligned(np.concatenate(flat, axis=1))


def index_float32(filters: NDArray[np.bool_], outputs: int, vectors: int) -> Indexed:
    """Index filters for float32 activations: groups of 5 channels, whose 32 sums are exact.

    Parameters
    ----------
    filters : bool, shape (O, I, k, k)
    outputs : int
        At least O, a multiple of the block size.
    vectors : int
        Vectors of 16 outputs in a block.
    """
    bits = _grouped(filters, outputs, 5)
    indices = (bits << np.arange(5)).sum(axis=-1).astype(np.uint32)
    signs = _signs(filters.shape[1], len(bits), 5)
    # The signs of the first four channels by the first 16 entries, then +1 for the fifth channel if it is there.
    fifth = np.repeat(signs[:, 16:17, 4], 16, axis=1)
    constants = np.concatenate([signs[:, :16, :4].transpose(0, 2, 1), fifth[:, None]], axis=1).astype(np.float32)
    at_once = FLOAT_GROUPS * indices.shape[1]
    return Indexed(_blocks(indices, vectors, LANES), _bytes(constants), at_once, np.zeros(outputs, np.float32))


def index_int8(filters: NDArray[np.bool_], outputs: int, vectors: int, quantization: Quantization) -> Indexed:
    """Index filters for 8-bit levels, minus their lowest: groups of 5 channels, sums in int16.

    Parameters are those of `index_float32`, except that vectors have 32 outputs.
    """
    inputs = filters.shape[1]
    bits = _grouped(filters, outputs, 5)
    # Entries of the first four channels are 32-bit lanes; each holds the sums minus and plus the fifth channel.
    indices = (2 * (bits[..., :4] << np.arange(4)).sum(axis=-1) + bits[..., 4]).astype(np.uint16)
    signs = _signs(inputs, len(bits), 5)
    four = signs[:, :16, :4].astype(np.int8)
    start = (-MIDDLE * signs[:, :16, :4].sum(axis=-1)).astype(np.int32)
    fifth = np.zeros((len(bits), 16, 2, 2), np.int8)
    fifth[..., 0] = np.array([-1, 1]) * np.abs(signs[:, :16, 4, None])
    origin = np.where(np.arange(inputs) % 5 < 4, MIDDLE, 0) + quantization.lowest
    steps = indices.shape[0] * indices.shape[1]
    chunks = -(-steps // SAFE_LOOK_UPS)
    return Indexed(
        _blocks(indices, vectors, 2 * LANES),
        _bytes(four, start, fifth),
        -(-steps // chunks),
        _correction(filters, outputs, origin),
    )


def index_int6(filters: NDArray[np.bool_], outputs: int, vectors: int, quantization: Quantization) -> Indexed:
    """Index filters for 6-bit levels, minus their lowest: four groups of 4 channels per step, sums in uint8.

    For a sign of -1 the table adds ``63 - level``, so that no sum is negative. Parameters are those of
    `index_float32`.
    """
    inputs = filters.shape[1]
    bits = _grouped(filters, outputs, 16)
    groups, taps = bits.shape[:2]
    entry = (bits.reshape(groups, taps, outputs, 4, 4) << np.arange(4)).sum(axis=-1)
    # The kernel packs the four groups' 32-bit sums to bytes by halves of registers, four sums of each group in turn.
    position = (entry >> 2) * 16 + np.arange(4) * 4 + (entry & 3)
    signs = _signs(inputs, 4 * groups, 4).reshape(groups, 4, 16, 4)
    start = (TOP * (signs < 0).sum(axis=-1)).astype(np.int32)
    parts = [part[:, i] for i in range(4) for part in (signs.astype(np.int8), start)]
    minus = np.zeros(outputs, np.int64)
    minus[: len(filters)] = TOP * (~filters).sum(axis=(1, 2, 3))
    initial = _correction(filters, outputs, np.full(inputs, quantization.lowest)) - minus.astype(np.int32)
    indices = position.astype(np.uint8).reshape(groups * taps, -1, vectors, 64).transpose(1, 0, 2, 3)
    # Filters that only pad a block: their sums are unused.
    return Indexed(aligned(indices), _bytes(*parts), groups * taps, initial.astype(np.int32))


def _correction(filters: NDArray[np.bool_], outputs: int, origin: NDArray) -> NDArray[np.int32]:
    """Return each filter's signed sum of the origins of its inputs' levels, by input channel."""
    initial = np.zeros(outputs, np.int32)
    signed = np.where(filters, 1, -1).sum(axis=(2, 3))
    initial[: len(filters)] = signed @ origin
    return initial
