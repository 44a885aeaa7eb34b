import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import convolve2d

from pipeline.metrics import luma, psnr, ssim

RNG = np.random.default_rng(7)
COLOUR = RNG.integers(0, 256, (24, 31, 3), dtype=np.uint8)
NOISY = np.clip(COLOUR + RNG.integers(-20, 21, COLOUR.shape), 0, 255).astype(np.uint8)


def matlab_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """ssim_index.m by Wang et al., line by line."""
    x = np.arange(-5, 6)
    window = np.exp(-(x[:, None] ** 2 + x**2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(image: np.ndarray) -> np.ndarray:
        return convolve2d(image, window, mode="valid")

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mu_a, mu_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2
    covariance = mean(a * b) - mu_a * mu_b
    index = ((2 * mu_a * mu_b + c1) * (2 * covariance + c2)) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))
    return float(index.mean())


def test_luma_of_the_primaries_is_bt601():
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8)
    np.testing.assert_allclose(luma(colours), [[16, 235, 81.481, 144.553, 40.966]])


def test_luma_of_grey_is_the_image_itself():
    grey = COLOUR[..., 0]
    assert luma(grey).dtype == np.float64
    np.testing.assert_array_equal(luma(grey), grey)


@pytest.mark.parametrize("shape", [(4,), (4, 4, 1), (4, 4, 4), (2, 4, 4, 3)])
def test_luma_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match="HxWx3 or HxW"):
        luma(np.zeros(shape))


@given(st.integers(1, 255), st.sampled_from(["y", "rgb"]))
def test_psnr_of_a_constant_error(error, channel):
    hr = np.zeros((5, 4) if channel == "y" else (5, 4, 3), dtype=np.uint8)
    assert psnr(hr + np.uint8(error), hr, channel=channel) == pytest.approx(20 * math.log10(255 / error))


def test_psnr_of_a_colour_error_is_weighted_by_luma():
    hr = np.full((6, 6, 3), 100, dtype=np.uint8)
    sr = hr.copy()
    sr[..., 1] += 10
    assert psnr(sr, hr) == pytest.approx(20 * math.log10(255 / (10 * 128.553 / 255)))
    assert psnr(sr, hr, channel="rgb") == pytest.approx(10 * math.log10(255**2 / (100 / 3)))


def test_equal_images():
    assert psnr(COLOUR, COLOUR) == math.inf
    assert ssim(COLOUR, COLOUR) == pytest.approx(1)


@given(st.integers(1, 9))
def test_the_border_is_left_out(border):
    sr = COLOUR.copy()
    sr[border:-border, border:-border] = NOISY[border:-border, border:-border]
    inside = slice(border, -border)
    assert psnr(sr, COLOUR, border) == psnr(NOISY[inside, inside], COLOUR[inside, inside])
    assert psnr(sr, COLOUR, border) == psnr(NOISY, COLOUR, border)
    sr[border:-border, border:-border] = COLOUR[border:-border, border:-border]
    sr[0] = 255 - sr[0]
    assert psnr(sr, COLOUR, border) == math.inf


def test_a_grey_image_is_compared_directly():
    expected = 10 * math.log10(255**2 / np.mean((NOISY[..., 0] - COLOUR[..., 0].astype(float)) ** 2))
    assert psnr(NOISY[..., 0], COLOUR[..., 0]) == pytest.approx(expected)


def test_ssim_is_the_authors():
    assert ssim(NOISY, COLOUR) == pytest.approx(matlab_ssim(luma(NOISY), luma(COLOUR)), abs=1e-12)
    channels = [matlab_ssim(NOISY[..., c].astype(float), COLOUR[..., c].astype(float)) for c in range(3)]
    assert ssim(NOISY, COLOUR, channel="rgb") == pytest.approx(np.mean(channels), abs=1e-12)
    inside = (slice(4, -4), slice(4, -4))
    expected = matlab_ssim(luma(NOISY)[inside], luma(COLOUR)[inside])
    assert ssim(NOISY, COLOUR, border=4) == pytest.approx(expected, abs=1e-12)


def test_ssim_needs_its_window():
    assert ssim(NOISY[:11, :11], COLOUR[:11, :11]) < 1
    with pytest.raises(ValueError, match="11x11 pixels inside the border, not 10x31"):
        ssim(NOISY[:10], COLOUR[:10])
    with pytest.raises(ValueError, match="11x11"):
        ssim(NOISY, COLOUR, border=7)


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(
    ("sr", "hr", "options", "message"),
    [
        (COLOUR[1:], COLOUR, {}, "the same shape"),
        (COLOUR[..., 0], COLOUR, {}, "the same shape"),
        (COLOUR.astype(float), COLOUR, {}, "must be uint8"),
        (COLOUR, COLOUR.astype(np.int16), {}, "must be uint8"),
        (COLOUR, COLOUR, {"border": 12}, "leaves none"),
        (COLOUR, COLOUR, {"border": -1}, "border of -1"),
        (COLOUR[..., 0], COLOUR[..., 0], {"channel": "rgb"}, "grey image"),
        (COLOUR, COLOUR, {"channel": "cb"}, 'must be "y" or "rgb"'),
    ],
)
def test_images_that_cannot_be_compared(metric, sr, hr, options, message):
    with pytest.raises(ValueError, match=message):
        metric(sr, hr, **options)
