"""The pictures of a made-up run, the regions that they show, and the colours of their errors."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import InputError
from pipeline.metrics import luma, psnr, ssim
from pipeline.reporting.comparisons import SIDE, best_region, error_map, error_range, gradient, make_pictures
from pipeline.reporting.results import read_results
from tests.reporting.synthetic_run import make_params, write_run


def pictures_of(root, params):
    results = read_results(root, params)
    (root / "reports/assets").mkdir(parents=True, exist_ok=True)
    return make_pictures(results, root / "reports/assets")


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture
def params():
    return make_params(["vdsr", "edsr"], [3], ["embedded-test"])


def test_crops_errors_and_scores_are_those_of_the_kept_images(tmp_path, params):
    write_run(tmp_path, params)
    pictures = pictures_of(tmp_path, params)
    (group,) = pictures.run
    assert (group.test_set, group.scale) == ("embedded-test", 3)
    assert [(shown.choice, shown.image) for shown in group.comparisons] == [("largest", "cat"), ("smallest", "cup")]
    shown = group.comparisons[0]
    assert (shown.gap, shown.gaps) == ("0.35 dB", "VDSR 0.30 and EDSR 0.40")
    sources = {source.key: source for source in shown.sources}
    made = [f"{model} {kind}" for model in ("VDSR", "EDSR") for kind in ("float", "binary", "engine int8")]
    assert [source.name for source in shown.sources] == ["bicubic", *made, "HR"]
    assert (shown.left, shown.right) == ("vdsr-float", "vdsr-binary")
    kept = tmp_path / "results/images/embedded-test/x3/largest"
    left, top = (round(share * size / 100) for share, size in zip(shown.box, (348, 252), strict=False))
    where = np.s_[top : top + shown.side, left : left + shown.side]
    hr = pixels(kept / "hr.png")[where]
    for key, source in sources.items():
        crop = pixels(kept / f"{key}.png")[where]
        assert np.array_equal(pixels(tmp_path / "reports" / source.crop), crop)
        error = error_map(np.abs(luma(crop) - luma(hr)), shown.error_range).convert("RGB")
        assert np.array_equal(pixels(tmp_path / "reports" / source.error_map), np.asarray(error))
        if key != "hr":
            assert source.psnr_y == f"{psnr(crop, hr):.2f} dB"
            assert source.psnr_rgb == f"{psnr(crop, hr, channel='rgb'):.2f} dB"
            assert source.ssim_y == f"{ssim(crop, hr):.4f}"
    assert sources["hr"].scores == "the reference"


def test_published_networks_come_apart_at_their_own_scale(tmp_path, params):
    write_run(tmp_path, params)
    (group,) = pictures_of(tmp_path, params).published
    assert (group.scale, group.comparisons[0].left) == (4, "srresnet-float")


def test_grey_images_have_no_rgb(tmp_path, params):
    write_run(tmp_path, params)
    for path in (tmp_path / "results/images/embedded-test/x3/largest").iterdir():
        Image.open(path).convert("L").save(path)
    shown = pictures_of(tmp_path, params).run[0].comparisons[0]
    assert shown.sources[0].psnr_rgb == "" and "RGB" not in shown.sources[0].scores


def test_equal_images_are_called_identical(tmp_path, params):
    write_run(tmp_path, params)
    folder = tmp_path / "results/images/embedded-test/x3/largest"
    (folder / "edsr-binary.png").write_bytes((folder / "hr.png").read_bytes())
    sources = {source.key: source for source in pictures_of(tmp_path, params).run[0].comparisons[0].sources}
    assert sources["edsr-binary"].psnr_y == "identical" and sources["edsr-binary"].ssim_y == "1.0000"


def test_nothing_kept_gives_no_pictures(tmp_path, params):
    write_run(tmp_path, params, images=False)
    pictures = pictures_of(tmp_path, params)
    assert (pictures.published, pictures.run) == ([], [])


def test_a_missing_image_is_named(tmp_path, params):
    write_run(tmp_path, params)
    (tmp_path / "results/images/embedded-test/x3/smallest/vdsr-float.png").unlink()
    with pytest.raises(InputError, match=r"x3/smallest/vdsr-float.png: missing; run `dvc repro`"):
        pictures_of(tmp_path, params)


def test_an_image_of_another_size_is_refused(tmp_path, params):
    write_run(tmp_path, params)
    Image.new("RGB", (5, 5)).save(tmp_path / "results/images/embedded-test/zoo/x4/largest/bicubic.png")
    with pytest.raises(InputError, match=r"zoo/x4/largest/bicubic.png: is \(5, 5, 3\)"):
        pictures_of(tmp_path, params)


def test_a_malformed_list_is_named(tmp_path, params):
    write_run(tmp_path, params)
    path = tmp_path / "results/images/embedded-test/x3/pictures.json"
    path.write_text(json.dumps([{"choice": "middle", "image": "cat", "gaps": {}}]))
    with pytest.raises(InputError, match=r"x3/pictures.json: 0.choice: "):
        pictures_of(tmp_path, params)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 4), st.integers(0, 3), st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_best_region_is_the_best_of_all_positions(scale, rows, columns, seed):
    side = SIDE // scale * scale
    shape = (side + rows * scale, side + columns * scale)
    gain = np.random.default_rng(seed).normal(size=shape)
    region = best_region(gain, scale)
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


def test_colours_go_from_dark_to_bright_with_the_error():
    errors = np.linspace(0, 25, 200)[None]
    colours = np.asarray(error_map(errors, 20).convert("RGB")).astype(int)[0]
    brightness = colours @ [0.299, 0.587, 0.114]
    assert (np.diff(brightness) >= 0).all() and brightness[0] < 5 and brightness[-1] > 200
    assert (colours[errors[0] >= 20] == colours[-1]).all()  # the range and beyond


def test_the_range_is_of_all_errors_and_leaves_out_the_rarest():
    small, large = np.full((100, 100), 2.5), np.full((100, 100), 9.2)
    large[0, 0] = 200
    assert error_range([small, large]) == 10
    assert error_range([np.zeros((4, 4))]) == 1


def test_the_gradient_has_the_colours_of_the_map():
    ends = np.asarray(error_map(np.array([[0.0, 1.0]]), 1).convert("RGB"))[0]
    stops = re.findall(r"#(\w{6})", gradient())
    assert [stops[0], stops[-1]] == [bytes(colour).hex() for colour in ends]
