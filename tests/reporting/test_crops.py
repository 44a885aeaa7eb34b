import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import InputError
from pipeline.metrics import psnr
from pipeline.reporting.crops import best_region, make_pictures
from pipeline.reporting.results import read_results
from tests.reporting.synthetic_run import make_params, write_run


@given(st.integers(2, 4), st.integers(0, 3), st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_best_region_is_the_best_of_all_positions(scale, rows, columns, seed):
    side = 3 * scale
    shape = ((3 + rows) * scale, (3 + columns) * scale)
    gain = np.random.default_rng(seed).normal(size=shape)
    value, region = best_region(gain, scale, side)
    every = [
        gain[top : top + side, left : left + side].mean()
        for top in range(0, shape[0] - side + 1, scale)
        for left in range(0, shape[1] - side + 1, scale)
    ]
    assert value == pytest.approx(max(every))
    assert region.cut(gain).mean() == pytest.approx(max(every))
    assert (region.top % scale, region.left % scale, region.side) == (0, 0, side)


def test_a_small_image_gives_what_it_has():
    _, region = best_region(np.ones((9, 30)), 3)
    assert (region.top, region.side) == (0, 9)


def pictures_of(root, params):
    results = read_results(root, params.matrix.models, params.matrix.scales, params.data.test, params.data.sets)
    return make_pictures(results, root / "reports/assets")


def test_crops_are_cut_from_the_kept_images(tmp_path):
    params = make_params(["edsr"], [3], ["embedded-test"])
    write_run(tmp_path, params)
    pictures = pictures_of(tmp_path, params)
    assert len(pictures) == 2
    tiles = {tile.caption: tile for tile in pictures[0].strips[0].tiles}
    assert list(tiles) == ["LR", "bicubic", "float", "binary", "engine int8", "HR"]
    pixels = {name: np.asarray(Image.open(tmp_path / "reports" / tile.path)) for name, tile in tiles.items()}
    assert pixels["LR"].shape == (24, 24, 3)
    assert pixels["HR"].shape == (72, 72, 3)
    assert tiles["float"].psnr == f"{psnr(pixels['float'], pixels['HR']):.2f} dB"
    left, top = (round(share * size / 100) for share, size in zip(pictures[0].box, (348, 252), strict=False))
    hr = np.asarray(Image.open(tmp_path / f"results/images/embedded-test/hr-x3/{pictures[0].name}.png"))
    assert np.array_equal(hr[top : top + 72, left : left + 72], pixels["HR"])


def test_names_in_folders_and_grey_images_work(tmp_path):
    params = make_params(["vdsr"], [2], ["embedded-test"])
    write_run(tmp_path, params)
    for path in list((tmp_path / "results/images/embedded-test").rglob("*.png")):
        if path.name == "cat.png":
            (path.parent / "test").mkdir()
            Image.open(path).convert("L").save(path.parent / "test/cat.png")
        path.unlink()
    (picture,) = pictures_of(tmp_path, params)
    assert picture.name == "test/cat"


def test_no_kept_images_give_no_pictures(tmp_path):
    params = make_params(["vdsr"], [2], ["embedded-test"])
    write_run(tmp_path, params, images=False)
    assert pictures_of(tmp_path, params) == []


def test_a_missing_image_is_named(tmp_path):
    params = make_params(["vdsr"], [2], ["embedded-test"])
    write_run(tmp_path, params)
    (tmp_path / "results/images/embedded-test/vdsr-x2-float/cup.png").unlink()
    with pytest.raises(InputError, match=r"vdsr-x2-float/cup.png: missing; run `dvc repro`"):
        pictures_of(tmp_path, params)


def test_an_image_of_another_size_is_refused(tmp_path):
    params = make_params(["vdsr"], [2], ["embedded-test"])
    write_run(tmp_path, params)
    Image.new("RGB", (5, 5)).save(tmp_path / "results/images/embedded-test/bicubic-x2/cup.png")
    with pytest.raises(InputError, match=r"bicubic-x2/cup.png: is \(5, 5, 3\)"):
        pictures_of(tmp_path, params)
