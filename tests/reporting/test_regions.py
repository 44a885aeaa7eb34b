import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.reporting.regions import best_region


@given(st.integers(2, 4), st.integers(0, 3), st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_best_region_is_the_best_of_all_positions(scale, rows, columns, seed):
    side = 3 * scale
    shape = ((3 + rows) * scale, (3 + columns) * scale)
    gain = np.random.default_rng(seed).normal(size=shape)
    region = best_region(gain, scale, side)
    every = [
        gain[top : top + side, left : left + side].mean()
        for top in range(0, shape[0] - side + 1, scale)
        for left in range(0, shape[1] - side + 1, scale)
    ]
    assert region.cut(gain).mean() == pytest.approx(max(every))
    assert (region.top % scale, region.left % scale, region.side) == (0, 0, side)


def test_a_small_image_gives_what_it_has():
    region = best_region(np.ones((9, 30)), 3)
    assert (region.top, region.side) == (0, 9)
    assert region.share(9, 30) == (0, 0, 30, 100)


def test_a_side_is_a_multiple_of_the_scale():
    assert best_region(np.ones((500, 400)), 3).side == 318
