"""Scores of equal images, whose PSNR is infinite: means, gaps and JSON stay finite."""

import numpy as np
import pytest

from pipeline.evaluation.gaps import gap_of
from pipeline.evaluation.protocol import means, score
from pipeline.metrics import MOST_DB, bounded_psnr, psnr
from tests.small import picture


@pytest.mark.parametrize("image", [picture(0), picture(1, channels=1), np.full((40, 36, 3), 255, np.uint8)])
def test_equal_images_have_the_most(image):
    equal = score("a", image, image, 2)
    assert equal.psnr_y == MOST_DB and equal.psnr_rgb == (MOST_DB if image.ndim == 3 else None)
    assert equal.ssim_y == pytest.approx(1)


def test_means_and_gaps_with_equal_images_are_finite():
    image, other = picture(0), picture(1)
    scores = [score("a", image, image, 2), score("b", other, image, 2)]
    assert means(scores).psnr_y == pytest.approx((MOST_DB + psnr(other, image, 2)) / 2, abs=1e-4)
    by_image = {each.image: each for each in scores}
    gap = gap_of(by_image, by_image)
    assert (gap.psnr_y, gap.low, gap.high, gap.psnr_rgb) == (0, 0, 0, 0)


def test_no_other_images_have_more():
    image = np.full((2000, 1000), 7, np.uint8)
    other = image.copy()
    other[0, 0] = 8
    assert psnr(other, image) > MOST_DB == bounded_psnr(other, image) == bounded_psnr(image, image)
    assert bounded_psnr(picture(0), picture(1)) == psnr(picture(0), picture(1)) < MOST_DB
