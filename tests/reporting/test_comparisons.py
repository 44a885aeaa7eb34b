import json

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import InputError
from pipeline.metrics import luma, psnr, ssim
from pipeline.reporting.comparisons import make_pictures
from pipeline.reporting.error_maps import error_map
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
