"""Crops that stand for a set."""

import numpy as np

from pipeline.data.samples import lr_crops
from tests.small import prepared_pictures


def test_crops_come_from_all_images_and_are_the_same_for_a_seed(tmp_path):
    pictures = prepared_pictures(tmp_path)
    crops = lr_crops(pictures, 2, 6, 6, seed=1)
    assert sorted(crop.ndim for crop in crops) == [2, 2, 3, 3, 3, 3]  # one of the three pictures is grey
    assert {crop.shape[:2] for crop in crops} == {(6, 6)}
    assert all(np.array_equal(a, b) for a, b in zip(crops, lr_crops(pictures, 2, 6, 6, seed=1), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(crops, lr_crops(pictures, 2, 6, 6, seed=2), strict=True))


def test_an_image_smaller_than_a_crop_is_taken_whole(tmp_path):
    pictures = prepared_pictures(tmp_path)
    assert {crop.shape[:2] for crop in lr_crops(pictures, 4, 100, 3, seed=0)} == {(10, 9)}
