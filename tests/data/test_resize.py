import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.data.resize import (
    BAND,
    imresize,
    imresize_region,
    output_length,
    resize_matrix,
    resize_taps,
    round_to_uint8,
)
from tests.conftest import SHARED

GOLDEN = SHARED / "golden"

SCALES = [1 / 4, 1 / 3, 1 / 2, 2, 3, 4]
scales = st.sampled_from(SCALES)
lengths = st.integers(1, 20)


def planes(height=lengths, width=lengths):
    pixels = st.floats(0, 255, allow_subnormal=False)
    return st.tuples(height, width).flatmap(lambda shape: arrays(np.float64, shape, elements=pixels))


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="needs MATLAB's results in ../shared/golden")
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_equals_matlab(scale):
    golden = np.load(GOLDEN / f"butterfly_GT_x{scale}.npz")
    np.testing.assert_allclose(imresize(golden["im_gt_y"], 1 / scale), golden["im_l_y"], atol=1e-9)
    np.testing.assert_allclose(imresize(golden["im_l_y"], scale), golden["im_b_y"], atol=1e-9)


def test_taps_of_halving_are_keys_kernel_stretched():
    weights, indices = resize_taps(16, 1 / 2)
    np.testing.assert_allclose(weights[4] * 256, [-3, -9, 29, 111, 111, 29, -9, -3])
    np.testing.assert_array_equal(indices[4], np.arange(5, 13))
    np.testing.assert_array_equal(indices[0], [2, 1, 0, 0, 1, 2, 3, 4])  # mirrored at the edge


@given(lengths, scales)
def test_taps_are_normalised_and_inside(length, scale):
    weights, indices = resize_taps(length, scale)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert indices.min() >= 0
    assert indices.max() < length


@pytest.mark.parametrize("scale", SCALES)
def test_sizes_are_rounded_up_despite_float_fuzz(scale):
    divisor = round(1 / scale)
    for length in range(1, 400):
        expected = -(-length // divisor) if scale < 1 else length * scale
        assert len(resize_taps(length, scale)[0]) == expected


@given(st.integers(0, 255), lengths, lengths, scales)
def test_constant_images_stay_constant(value, height, width, scale):
    image = np.full((height, width, 3), value, dtype=np.uint8)
    assert np.all(imresize(image, scale) == value)
    np.testing.assert_allclose(imresize(image.astype(np.float64), scale), value, atol=1e-10)


@given(planes(), scales, st.floats(-2, 2), st.floats(-2, 2))
def test_linear(plane, scale, a, b):
    other = 255 - plane.T[::-1, ::-1].T
    combined = a * imresize(plane, scale) + b * imresize(other, scale)
    np.testing.assert_allclose(imresize(a * plane + b * other, scale), combined, atol=1e-9)


@given(planes(), scales)
def test_transposition_commutes(plane, scale):
    np.testing.assert_allclose(imresize(plane.T, scale), imresize(plane, scale).T, atol=1e-10)


@given(st.integers(1, 4).flatmap(lambda n: planes(st.just(12 * n), st.just(12))), scales)
def test_flips_commute_where_sizes_divide(plane, scale):
    np.testing.assert_allclose(imresize(plane[::-1], scale), imresize(plane, scale)[::-1], atol=1e-10)
    np.testing.assert_allclose(imresize(plane[:, ::-1], scale), imresize(plane, scale)[:, ::-1], atol=1e-10)


@given(planes(width=st.just(1)), scales)
def test_one_pixel_wide_images_are_resized_along_their_length(plane, scale):
    resized = imresize(plane, scale)
    assert resized.shape[1] == max(1, scale)
    np.testing.assert_allclose(resized, np.repeat(resized[:, :1], resized.shape[1], axis=1), atol=1e-10)


@given(planes(), scales)
def test_is_the_product_with_its_matrices(plane, scale):
    rows, columns = (resize_matrix(length, scale) for length in plane.shape)
    np.testing.assert_allclose(rows @ plane @ columns.T, imresize(plane, scale), atol=1e-9)


def test_long_axes_are_resized_as_their_parts():
    plane = np.random.default_rng(0).uniform(0, 255, (600, 7))
    np.testing.assert_allclose(imresize(plane, 2)[400:800], imresize(plane[190:410], 2)[20:420], atol=1e-10)


@given(arrays(np.uint8, st.tuples(lengths, lengths, st.just(3))), scales)
def test_uint8_is_rounded_once(image, scale):
    exact = imresize(image.astype(np.float64), scale)
    resized = imresize(image, scale)
    assert resized.dtype == np.uint8
    assert np.all(np.abs(resized - exact.clip(0, 255)) <= 0.5 + 1e-8)
    for channel in range(3):
        np.testing.assert_array_equal(resized[..., channel], imresize(image[..., channel].copy(), scale))


def test_halves_are_rounded_up_and_overshoot_is_clamped():
    ramp = np.array([[0, 1]], dtype=np.uint8).repeat(3, axis=0)
    assert np.all(imresize(ramp, 1 / 2) == 1)
    step = np.array([[0] * 6 + [255] * 6], dtype=np.uint8)
    assert imresize(step.astype(np.float64), 2).max() > 255
    assert imresize(step, 2).max() == 255
    assert imresize(step, 2).min() == 0


def test_float32_is_computed_in_float64():
    image = np.random.default_rng(1).uniform(0, 255, (17, 13, 3)).astype(np.float32)
    resized = imresize(image, 1 / 3)
    assert resized.dtype == np.float32
    np.testing.assert_array_equal(resized, imresize(image.astype(np.float64), 1 / 3).astype(np.float32))


@pytest.mark.parametrize(
    ("image", "scale", "message"),
    [
        (np.zeros((4, 4), np.int32), 2, "not int32"),
        (np.zeros(4), 2, "shape"),
        (np.zeros((0, 4)), 2, "non-empty"),
        (np.zeros((4, 4)), 0, "positive"),
        (np.zeros((4, 4)), float("nan"), "positive"),
    ],
)
def test_refuses(image, scale, message):
    with pytest.raises(ValueError, match=message):
        imresize(image, scale)


@given(st.tuples(lengths, lengths).flatmap(lambda shape: arrays(np.uint8, shape)), scales, st.data())
def test_a_region_is_to_the_bit_that_of_the_whole(image, scale, data):
    whole = imresize_region(image, scale, *(slice(0, output_length(n, scale)) for n in image.shape[:2]))
    ends = [sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(1, n)))) for n in whole.shape[:2]]
    region = [slice(first, max(last, first + 1)) for first, last in ends]
    np.testing.assert_array_equal(imresize_region(image, scale, *region), whole[tuple(region)])
    np.testing.assert_array_equal(imresize(image, scale), round_to_uint8(whole))


def test_bands_meet_without_a_seam():
    image = np.random.default_rng(0).random((2 * BAND // 3 + 5, 7, 3))
    resized = imresize(image, 3)
    whole = imresize_region(image, 3, slice(0, len(resized)), slice(0, 21))
    np.testing.assert_array_equal(resized, whole)
