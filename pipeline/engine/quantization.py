"""Rounding of activations and filters: to integer levels and the real numbers they represent, or to bfloat16."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

SMALLEST_STEP = 1e-8  # of a channel that is all zero


@dataclass(frozen=True)
class Quantization:
    """Activations as integer multiples (levels) of a step; zero is a level, so that zero padding is exact.

    Attributes
    ----------
    step : float32, or of shape (C,)
        The step: one for all channels, or one per channel (float layers only).
    lowest, highest : int
        Smallest and largest level, ``lowest <= 0 <= highest``; at most 255 apart.
    signs : bool
        Whether there are only two levels: +1 for activations above zero, -1 for all others.
    """

    step: np.float32 | Array
    lowest: int
    highest: int
    signs: bool = False

    @classmethod
    def of(cls, low: float, high: float, bits: int) -> Quantization:
        """Return 2^bits levels for activations in low..high, a non-empty range that is widened to contain zero.

        One bit means signs, with a step of half the range.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        if bits == 1:
            return cls(np.float32((high - low) / 2), -1, 1, signs=True)
        intervals = 2**bits - 1
        step = np.float32((high - low) / intervals)
        lowest = int(np.rint(low / step))
        return cls(step, lowest, lowest + intervals)

    @classmethod
    def of_channels(cls, low: Array, high: Array) -> Quantization:
        """Return 256 levels with a step per channel, for activations in low..high, which are widened to contain zero.

        All channels have the same lowest level: the one with the smallest sum of squared steps. With PReLU, activations
        reach much farther above zero than below, and levels that are symmetric would leave half of them unused.

        Parameters
        ----------
        low, high : float32, shape (C,)
        """
        below, above = -np.minimum(low, 0).astype(np.float64), np.maximum(high, 0).astype(np.float64)
        lowest = np.arange(-255, 1)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            down, up = (
                np.where(reach > 0, reach / levels, 0) for reach, levels in ((below, -lowest), (above, 255 + lowest))
            )
        steps = np.maximum(np.maximum(down, up), SMALLEST_STEP)
        best = int(np.argmin(np.square(steps).sum(axis=1)))
        return cls(steps[best].astype(np.float32), best - 255, best)

    @property
    def inverse_step(self) -> np.float32 | Array:
        """The number of levels in an activation of 1."""
        return np.float32(1) / self.step


@dataclass(frozen=True)
class Bfloat16:
    """Activations and filters in bfloat16, the upper half of a float32: 8 significant bits; sums are float32."""


Rounding = Quantization | Bfloat16


def bfloat16(x: Array) -> NDArray[np.int16]:
    """Round finite numbers to bfloat16, halves to even, and return their bits."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16).view(np.int16)


def quantize(x: Array, quantization: Quantization) -> NDArray[np.int16]:
    """Round activations, shape (C, H, W), to levels (halves to even), saturating at the lowest and the highest.

    Multiplication by the inverse step is part of the definition: the kernels' results must match it bit for bit.
    """
    if quantization.signs:
        return np.where(x > 0, 1, -1).astype(np.int16)
    inverse_step = np.asarray(quantization.inverse_step)
    levels = np.rint(x * (inverse_step[:, None, None] if inverse_step.ndim else inverse_step))
    return np.clip(levels, quantization.lowest, quantization.highest).astype(np.int16)


def quantize_filters(filters: Array) -> tuple[NDArray[np.int8], Array]:
    """Round float filters to int8, symmetrically, with one scale per filter.

    Neighbouring activations are alike, so that the errors of a filter's k·k values for one input channel add up: a few
    of the values are rounded to the farther integer, until their sum is within a half of the exact one.

    Parameters
    ----------
    filters : float32, shape (O, I, k, k)

    Returns
    -------
    int8 in -127..127, shape of `filters`
    float32, shape (O,)
        The scale of each filter; 1 for a filter of zeros, or of numbers below 1e-43.
    """
    largest = np.abs(filters).max(axis=(1, 2, 3))
    scales = (largest / np.float32(127)).astype(np.float32)
    scales[scales == 0] = 1  # of filters of zeros, or so near to zero that the scale underflows
    exact = filters / scales[:, None, None, None]
    return _rounded_with_sum(exact.reshape(*filters.shape[:2], -1)).reshape(filters.shape), scales


def _rounded_with_sum(exact: Array) -> NDArray[np.int8]:
    """Round numbers in -127..127 so that the sums over the last axis change by at most a half."""
    rounded = np.rint(exact)
    errors = rounded - exact
    excess = np.rint(errors.sum(axis=-1, dtype=np.float64, keepdims=True))
    order = np.argsort(-np.sign(excess) * errors, axis=-1, kind="stable")  # those rounded farthest the wrong way first
    rank = np.argsort(order, axis=-1, kind="stable")
    return (rounded - np.where(rank < np.abs(excess), np.sign(excess), 0)).astype(np.int8)


def with_steps(filters: NDArray, quantization: Quantization) -> tuple[NDArray, np.float32 | Array]:
    """Return the filters for inputs in levels, and the step of their sums: one for all filters, or one for each.

    Parameters
    ----------
    filters : bool or float32, shape (O, I, k, k)
        Float filters become int8; each channel's step is multiplied in before rounding.
    quantization : Quantization
        Quantization of the input.
    """
    if filters.dtype == np.bool_:
        return filters, np.float32(quantization.step)
    steps = np.broadcast_to(np.float32(quantization.step), filters.shape[1])
    return quantize_filters(filters * steps[:, None, None])
