"""Training crops against crops cut plainly with numpy."""

import numpy as np
import pytest
import torch

from pipeline.data.crops import Crops
from pipeline.data.resize import imresize
from pipeline.errors import InputError
from pipeline.metrics import luma
from tests.small import prepared_pictures


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return prepared_pictures(tmp_path_factory.mktemp("set"))


def rgb(image):
    """H×W×3 float over 255, grey as three equal channels."""
    return (image if image.ndim == 3 else np.repeat(image[..., None], 3, 2)).astype(np.float32) / 255


def dihedral(image):
    """The eight flips and turns of an image."""
    return [np.rot90(flipped, k) for flipped in (image, image[::-1]) for k in range(4)]


def places(lr, size):
    return ((top, left) for top in range(lr.shape[0] - size + 1) for left in range(lr.shape[1] - size + 1))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_every_crop_is_a_turned_piece_of_an_image_with_its_hr_piece(pictures, scale):
    size = 5
    inputs, targets = Crops(pictures, scale, size, False).batch(np.random.default_rng(0), 24)
    assert inputs.shape == (24, 3, size, size) and targets.shape == (24, 3, scale * size, scale * size)
    turns_seen, images_seen = set(), set()
    for lr_crop, hr_crop in zip(inputs.permute(0, 2, 3, 1).numpy(), targets.permute(0, 2, 3, 1).numpy(), strict=True):
        found = [
            (i, turn)
            for i in range(len(pictures))
            for top, left in places(pictures.lr(i, scale), size)
            for turn, (lr, hr) in enumerate(
                zip(
                    dihedral(rgb(pictures.lr(i, scale))[top : top + size, left : left + size]),
                    dihedral(
                        rgb(pictures.hr(i, scale))[
                            scale * top : scale * (top + size), scale * left : scale * (left + size)
                        ]
                    ),
                    strict=True,
                )
            )
            if np.array_equal(lr, lr_crop) and np.array_equal(hr, hr_crop)
        ]
        assert found
        images_seen.add(found[0][0])
        turns_seen.add(found[0][1])
    assert images_seen == {0, 1, 2} and len(turns_seen) >= 5


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_luma_crops_are_pieces_of_the_bicubic_image_even_at_its_edges(pictures, scale):
    size = min(pictures.lr(0, scale).shape[:2])  # crops as wide as the image: all touch its edges
    inputs, targets = Crops(pictures, scale, size, True).batch(np.random.default_rng(1), 6)
    assert inputs.shape == targets.shape == (6, 1, scale * size, scale * size)
    bicubic = [luma(imresize(rgb(pictures.lr(i, scale)).astype(np.float64) * 255, scale)) / 255 for i in range(3)]
    side = scale * size
    for crop in inputs[:, 0].numpy():
        distances = [
            np.abs(turn - crop).max()
            for image in bicubic
            for top in range(0, image.shape[0] - side + 1, scale)
            for left in range(0, image.shape[1] - side + 1, scale)
            for turn in dihedral(image[top : top + side, left : left + side])
        ]
        assert min(distances) < 1e-5


def test_parts_of_a_batch_make_the_whole_batch(pictures):
    crops = Crops(pictures, 2, 6, False)
    whole = crops.batch(np.random.default_rng(5), 6)
    parts = [crops.batch(np.random.default_rng(5), 6, part) for part in (slice(0, 3), slice(3, 6))]
    for i in range(2):
        assert torch.equal(whole[i], torch.cat([part[i] for part in parts]))


def test_images_smaller_than_a_crop_are_named(pictures):
    with pytest.raises(InputError, match=r"image_0.*patch"):
        Crops(pictures, 2, 19, False)
