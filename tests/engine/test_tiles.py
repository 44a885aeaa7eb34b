"""Tilings: whole, within their buffers, and no more work than needed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.tiles import RUN_STEP, tiling


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from([1, 3, 5, 9]), st.sampled_from([256, 512]))
def test_runs_and_taps_stay_in_the_buffer(height, width, kernel, longest):
    tile = tiling(height, width, kernel, longest)
    assert 1 <= tile.rows <= height and 1 <= tile.columns <= width
    assert tile.run <= longest and tile.run % RUN_STEP == 0
    assert (tile.rows - 1) * tile.pitch + tile.columns <= tile.run
    assert (tile.rows + kernel - 1) * tile.pitch <= tile.span
    assert int(tile.taps().max()) + tile.run <= tile.span
    # The tap of the filter's centre is half a kernel down and right.
    assert tile.taps()[kernel**2 // 2] == kernel // 2 * (tile.pitch + 1)


def test_an_image_is_not_cut_without_need():
    for size in (1, 3, 8):
        tile = tiling(size, size, 3, 256)
        assert (tile.rows, tile.columns) == (size, size)


def test_little_is_summed_up_in_vain():
    for height, width in ((128, 128), (120, 90), (339, 510), (510, 339)):
        tile = tiling(height, width, 3, 256)
        tiles = np.ceil(height / tile.rows) * np.ceil(width / tile.columns)
        assert tiles * tile.run < 1.35 * height * width
