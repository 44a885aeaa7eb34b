"""The gap of a pair, from scores that can be checked by hand, and the interval of its mean."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.gaps import gap_of, image_gaps
from pipeline.records import Score

FLOAT = {"a": Score("a", 30.0, 28.0, 0.9), "b": Score("b", 32.0, None, 0.9), "c": Score("c", 28.0, 26.0, 0.9)}
BINARY = {"a": Score("a", 29.9, 27.8, 0.9), "b": Score("b", 31.6, None, 0.9), "c": Score("c", 28.1, 26.0, 0.9)}


def test_the_gap_is_the_mean_over_images_and_on_rgb_over_those_in_colour():
    gap = gap_of(FLOAT, BINARY)
    assert gap.psnr_y == pytest.approx((0.1 + 0.4 - 0.1) / 3)
    assert gap.psnr_rgb == pytest.approx(0.1) and gap.images == 3
    assert -0.1 - 1e-9 <= gap.low < gap.psnr_y < gap.high <= 0.4 + 1e-9


def test_grey_images_have_no_gap_on_rgb_and_one_image_no_interval():
    gap = gap_of({"b": FLOAT["b"]}, {"b": BINARY["b"]})
    assert gap.psnr_rgb is None and gap.images == 1 and (gap.low, gap.high) == (-math.inf, math.inf)


def test_every_image_that_both_have_has_its_gap():
    assert image_gaps(FLOAT, {"b": BINARY["b"]}) == {"b": pytest.approx(0.4)}


def test_other_images_are_refused():
    with pytest.raises(KeyError):
        gap_of({"a": FLOAT["a"]}, BINARY)


def levels(values):
    return {str(index): Score(str(index), float(value), None, 0.9) for index, value in enumerate(values)}


def test_the_interval_is_that_of_the_normal_distribution_for_many_images():
    rng = np.random.default_rng(1)
    base, gap = rng.normal(30, 4, 400), rng.normal(0.2, 0.5, 400)
    found = gap_of(levels(base + gap), levels(base))
    error = 1.96 * gap.std(ddof=1) / 20
    assert found.psnr_y == pytest.approx(gap.mean())
    assert (found.low, found.high) == pytest.approx((gap.mean() - error, gap.mean() + error), abs=0.006)
    assert found.images == 400


def test_the_interval_is_paired():
    base = np.linspace(20, 40, 50)  # images differ by 20 dB, their gaps not at all
    found = gap_of(levels(base + 0.1), levels(base))
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        found = gap_of(levels(rng.normal(0.3, 0.2, 60)), levels(np.zeros(60)))
        covered += found.low <= 0.3 <= found.high
    assert 178 <= covered <= 199  # 95 % of 200, within three standard deviations and the percentiles' small bias


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=12))
@settings(max_examples=25, deadline=None)
def test_the_interval_holds_the_mean_and_turns_with_the_sides(gaps):
    above, below = levels(gaps), levels(np.zeros(len(gaps)))
    found, turned = gap_of(above, below), gap_of(below, above)
    assert found.low - 1e-9 <= found.psnr_y <= found.high + 1e-9
    assert min(gaps) - 1e-9 <= found.low and found.high <= max(gaps) + 1e-9
    assert turned.psnr_y == pytest.approx(-found.psnr_y)
