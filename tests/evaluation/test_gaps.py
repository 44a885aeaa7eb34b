"""The gap of a pair, from scores that can be checked by hand."""

import math

import pytest

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
    assert gap.psnr_rgb is None and math.isinf(gap.high)


def test_every_image_that_both_have_has_its_gap():
    assert image_gaps(FLOAT, {"b": BINARY["b"]}) == {"b": pytest.approx(0.4)}


def test_other_images_are_refused():
    with pytest.raises(KeyError):
        gap_of({"a": FLOAT["a"]}, BINARY)
