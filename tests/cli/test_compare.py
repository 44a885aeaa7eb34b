"""`binsr compare` measures what other programs measure."""

import json
import math
import os

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tests.small import picture

ONE = picture(0, 30, 34)
OTHER = np.clip(ONE + np.random.default_rng(1).normal(0, 6, ONE.shape), 0, 255).astype(np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def expected(one, other, border=0):
    """The scores of two RGB images by scikit-image."""
    inside = slice(border, -border or None)
    one, other = (image[inside, inside].astype(float) for image in (one, other))
    y1, y2 = (16 + image @ [65.481 / 255, 128.553 / 255, 24.966 / 255] for image in (one, other))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return {
        "psnr_y": peak_signal_noise_ratio(y1, y2, data_range=255),
        "psnr_rgb": peak_signal_noise_ratio(one, other, data_range=255),
        "ssim_y": structural_similarity(y1, y2, data_range=255, **options),
    }


@pytest.mark.parametrize("border", [0, 4])
def test_two_images(tmp_path, binsr, border):
    a, b = save(tmp_path / "a.png", ONE), save(tmp_path / "b.webp", OTHER, lossless=True)
    told = json.loads(binsr("compare", a, b, "--border", border, "--json").out)
    assert told["border"] == border and len(told["images"]) == 1
    for key, value in expected(ONE, OTHER, border).items():
        assert told["images"][0][key] == told["mean"][key] == pytest.approx(value, abs=1e-4)
    done = binsr("compare", a, b, "--border", border)
    assert (
        f"{told['mean']['psnr_y']:.4f}" in done.out and f"{told['mean']['ssim_y']:.5f}" in done.out and done.err == ""
    )


def test_equal_images_are_infinitely_near(tmp_path, binsr):
    a = save(tmp_path / "a.png", ONE)
    assert binsr("compare", a, a).out.splitlines()[-1].split() == ["∞", "∞", "1.00000"]
    mean = json.loads(binsr("compare", a, a, "--json").out)["mean"]
    assert mean == {"psnr_y": None, "psnr_rgb": None, "ssim_y": 1.0}


def test_grey_images_have_no_rgb_and_grey_beside_colour_counts_as_colour(tmp_path, binsr):
    a, b = save(tmp_path / "a.png", ONE[..., 0]), save(tmp_path / "b.png", OTHER[..., 0])
    told = json.loads(binsr("compare", a, b, "--json").out)["mean"]
    error = np.mean((ONE[..., 0].astype(float) - OTHER[..., 0]) ** 2)
    assert told["psnr_y"] == pytest.approx(10 * math.log10(255**2 / error), abs=1e-4) and told["psnr_rgb"] is None
    told = json.loads(binsr("compare", a, save(tmp_path / "c.png", OTHER), "--json").out)["mean"]
    grey = np.repeat(ONE[..., :1], 3, axis=2)
    assert told["psnr_rgb"] == pytest.approx(expected(grey, OTHER)["psnr_rgb"], abs=1e-4)


def test_folders_match_by_name_without_the_suffix(tmp_path, binsr):
    for i, name in enumerate(("a", "deep/b")):
        save(tmp_path / f"one/{name}.png", picture(i))
        save(tmp_path / f"other/{name}.bmp", picture(i + 1))
    done = binsr("compare", tmp_path / "one", tmp_path / "other", "--json")
    told = json.loads(done.out)
    assert done.code == 0 and [image["name"] for image in told["images"]] == ["a", "deep/b"]
    scores = [expected(picture(i), picture(i + 1)) for i in range(2)]
    for image, score in zip(told["images"], scores, strict=True):
        assert {key: image[key] for key in score} == pytest.approx(score, abs=1e-4)
    for key in ("psnr_y", "psnr_rgb", "ssim_y"):
        assert told["mean"][key] == pytest.approx(np.mean([score[key] for score in scores]), abs=1e-4)
    lines = binsr("compare", tmp_path / "one", tmp_path / "other").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["a", "deep/b", "mean"]


def test_what_has_no_counterpart_or_another_size_is_named_and_the_rest_is_measured(tmp_path, binsr):
    for folder in ("one", "other"):
        save(tmp_path / folder / "a.png", ONE)
    for name in ("one/only.png", "other/alone.png"):
        save(tmp_path / name, ONE)
    save(tmp_path / "one/size.png", ONE)
    save(tmp_path / "other/size.png", ONE[:-1])
    done = binsr("compare", tmp_path / "one", tmp_path / "other", "--json")
    assert done.code == 2 and done.err.count("\n") == 3
    assert all(name in done.err for name in ("only.png", "alone.png", "one/size.png", "other/size.png"))
    told = json.loads(done.out)
    assert [image["name"] for image in told["images"]] == ["a"] and len(told["unmatched"]) == 2
    assert len(told["failed"]) == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["a.png", "smaller.png"], ["a.png", "smaller.png", "30×34", "29×34"]),
        (["a.png", "missing.png"], ["missing.png"]),
        (["a.png", "x" * 300], ["x" * 300, "too long"]),
        (["a.png", "folder"], ["a.png", "folder"]),
        (["a.png", "pipe"], ["pipe: is a pipe or a device"]),
        (["folder", "twice"], ["x.png", "x.bmp"]),
        (["folder", "empty"], ["empty"]),
        (["folder", "else"], ["folder", "else"]),
        (["a.png", "text.png"], ["text.png"]),
        (["a.png", "deep.png"], ["deep.png", "16 bits"]),
        (["a.png", "a.png", "--border", "15"], ["--border"]),
        (["a.png", "a.png", "--border", "-1"], ["--border"]),
    ],
)
def test_what_cannot_be_compared(tmp_path, binsr, monkeypatch, arguments, named):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.png", ONE)
    save(tmp_path / "smaller.png", ONE[:-1])
    save(tmp_path / "deep.png", ONE[..., 0].astype(np.uint16))
    for name in ("folder/x.png", "twice/x.png", "twice/x.bmp", "else/y.png"):
        save(tmp_path / name, ONE)
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text.png").write_text("no image")
    done = binsr("compare", *arguments)
    assert done.code == 2 and done.out == "" and done.err.count("\n") == 1
    assert all(name in done.err for name in named), done.err


def test_transparency_is_not_compared_and_small_images_have_no_ssim(tmp_path, binsr):
    image = Image.fromarray(ONE[:10])
    image.putalpha(Image.fromarray(ONE[:10, :, 0]))
    image.save(tmp_path / "a.png")
    done = binsr("compare", tmp_path / "a.png", save(tmp_path / "b.png", OTHER[:10]), "--json")
    assert "a.png" in done.err and "transparency" in done.err
    told = json.loads(done.out)["mean"]
    assert told["ssim_y"] is None and told["psnr_rgb"] == pytest.approx(
        peak_signal_noise_ratio(ONE[:10], OTHER[:10]), abs=1e-4
    )
