"""The interval of a mean gap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.uncertainty import paired_interval


def levels(values):
    return {str(index): float(value) for index, value in enumerate(values)}


def test_it_is_that_of_the_normal_distribution_for_many_images():
    rng = np.random.default_rng(1)
    base, gap = rng.normal(30, 4, 400), rng.normal(0.2, 0.5, 400)
    found = paired_interval(levels(base + gap), levels(base))
    error = 1.96 * gap.std(ddof=1) / 20
    assert found.mean == pytest.approx(gap.mean())
    assert (found.low, found.high) == pytest.approx((gap.mean() - error, gap.mean() + error), abs=0.006)
    assert found.images == 400


def test_it_is_paired():
    base = np.linspace(20, 40, 50)  # images differ by 20 dB, their gaps not at all
    found = paired_interval(levels(base + 0.1), levels(base))
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))


def test_it_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        found = paired_interval(levels(rng.normal(0.3, 0.2, 60)), levels(np.zeros(60)))
        covered += found.low <= 0.3 <= found.high
    assert 178 <= covered <= 199  # 95 % of 200, within three standard deviations and the percentiles' small bias


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=12))
@settings(max_examples=25, deadline=None)
def test_it_holds_the_mean_and_turns_with_the_sides(gaps):
    above, below = levels(gaps), levels(np.zeros(len(gaps)))
    found, turned = paired_interval(above, below), paired_interval(below, above)
    assert found.low - 1e-9 <= found.mean <= found.high + 1e-9
    assert min(gaps) - 1e-9 <= found.low and found.high <= max(gaps) + 1e-9
    assert turned.mean == pytest.approx(-found.mean)


def test_one_image_gives_none():
    found = paired_interval({"a": 30.0}, {"a": 29.9})
    assert found.images == 1 and np.isinf(found.low) and np.isinf(found.high)


def test_images_that_differ_are_refused():
    with pytest.raises(KeyError):
        paired_interval({"a": 30.0}, {"b": 29.9})
