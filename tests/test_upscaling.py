"""Images through a network whole and by region: the same to the bit, and only regions are held in float."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.resize import imresize
from pipeline.errors import InputError
from pipeline.metrics import luma
from pipeline.upscaling import NotFiniteError, upscale_image, upscaling_of


def repeated(scale):
    """A network that repeats every pixel, and makes it a little brighter."""
    return lambda x: np.repeat(np.repeat(x, scale, axis=1), scale, axis=2) * np.float32(1.1)


@given(
    st.sampled_from(["edsr", "vdsr"]),
    st.sampled_from([np.uint8, np.uint16]),
    st.sampled_from([(), (3,)]),
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(1, 40),
)
def test_regions_give_the_whole(model, depth, channels, height, width, side):
    rng = np.random.default_rng(height + 31 * width)
    image = rng.integers(0, np.iinfo(depth).max + 1, (height, width, *channels)).astype(depth)
    network = repeated(1 if model == "vdsr" else 2)
    upscaling = upscaling_of(image, model, 2)
    rows, columns = ([slice(i, min(i + side, n)) for i in range(0, n, side)] for n in upscaling.size)
    for row in rows:
        for column in columns:
            upscaling.write((row, column), network(upscaling.read((row, column))))
    np.testing.assert_array_equal(upscaling.result, upscale_image(network, image, model, 2))
    assert upscaling.result.dtype == depth and upscaling.result.shape == (2 * height, 2 * width, *channels)


def test_a_network_on_luma_that_changes_nothing_gives_the_bicubic_image():
    image = np.random.default_rng(0).integers(0, 256, (20, 31, 3), np.uint8)
    same = upscale_image(lambda x: x, image, "vdsr", 3)
    assert np.abs(same.astype(int) - imresize(image, 3)).max() <= 1  # halves are rounded otherwise
    seen = []
    upscale_image(lambda x: seen.append(x) or x, image, "vdsr", 3)
    (bicubic,) = seen
    np.testing.assert_allclose(bicubic[0], luma(imresize(image.astype(np.float64), 3)) / 255, atol=1e-6)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_refuses_other_images(image):
    with pytest.raises(InputError, match="give uint8 or uint16 of shape"):
        upscaling_of(image, "edsr", 2)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("model", ["edsr", "vdsr"])
def test_an_output_that_is_not_finite_is_refused(model, wrong):
    def network(x):
        out = repeated(1 if model == "vdsr" else 2)(x)
        out[0, 3, 4] = wrong
        return out

    for image in (np.full((5, 6, 3), 200, np.uint8), np.full((5, 6), 200, np.uint16)):
        with np.errstate(invalid="ignore"), pytest.raises(NotFiniteError, match="output is not finite; train it again"):
            upscale_image(network, image, model, 2)
