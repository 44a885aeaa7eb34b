"""Rounding of filters to int8 at the ends of the range of float32, and levels for channels of unequal ranges."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.quantization import Quantization, quantize, quantize_filters


def test_filters_too_small_for_a_scale_become_zeros():
    filters = np.array([0.0, 1e-45, -1e-44, 1e-30], np.float32).reshape(4, 1, 1, 1)
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        levels, scales = quantize_filters(filters)
    assert levels.ravel().tolist() == [0, 0, 0, 127] and np.isfinite(scales).all() and (scales > 0).all()


@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_rounded_filters_keep_the_sum_of_each_input_channel(k, seed):
    rng = np.random.default_rng(seed)
    filters = (rng.standard_normal((3, 4, k, k)) * np.exp(rng.standard_normal((3, 4, 1, 1)))).astype(np.float32)
    levels, scales = quantize_filters(filters)
    errors = levels - filters / scales[:, None, None, None]
    assert np.abs(errors.sum(axis=(2, 3))).max() <= 0.5 + 1e-4
    assert np.abs(errors).max() < 1 and np.abs(levels.astype(int)).max() == 127
    kept = np.abs(np.rint(filters / scales[:, None, None, None]) - levels)
    nearest = np.rint(filters / scales[:, None, None, None]) - filters / scales[:, None, None, None]
    assert kept.sum() == np.abs(np.rint(nearest.sum(axis=(2, 3)))).sum()  # no more than are needed differ


def test_the_levels_of_channels_divide_by_what_lies_below_and_above_zero():
    for low, high, lowest in ((0, 2, 0), (-1, 1, -128), (-2, 0, -255), (-1, 50, -5), (-3, 1, -191)):
        made = Quantization.of_channels(np.full(4, low, np.float32), np.full(4, high, np.float32))
        assert (made.lowest, made.highest) == (lowest, lowest + 255)
        np.testing.assert_allclose(made.step, (high - low) / 255, rtol=0.02)


@given(st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_the_levels_of_channels_cover_their_ranges_with_the_smallest_squared_steps(channels, seed):
    rng = np.random.default_rng(seed)
    low, high = (np.exp(2 * rng.standard_normal(channels)).astype(np.float32) * (rng.random(channels) < 0.8)
                 for _ in range(2))  # fmt: skip
    made = Quantization.of_channels(-low, high)
    for ends in (-low, high):
        levels = quantize(ends[:, None, None], made)[:, 0, 0]
        np.testing.assert_allclose(levels * made.step, ends, atol=0.501 * made.step.max())
    noise = {}
    for lowest in range(-255, 1):
        parts = [(low, -lowest), (high, 255 + lowest)]
        if all(count or not reach.any() for reach, count in parts):
            steps = np.max([reach / count for reach, count in parts if count], axis=0)
            noise[lowest] = np.square(np.maximum(steps.astype(np.float64), 1e-8)).sum()
    assert noise[made.lowest] <= min(noise.values()) * (1 + 1e-6)
