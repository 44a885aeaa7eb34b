import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.preparation import prepare
from pipeline.data.prepared import PreparedSet
from pipeline.data.resize import imresize
from pipeline.errors import InputError
from pipeline.files import MACHINE

RNG = np.random.default_rng(3)
IMAGES = {
    "b": RNG.integers(0, 256, (13, 22, 3), dtype=np.uint8),
    "a/grey": RNG.integers(0, 256, (12, 9), dtype=np.uint8),
    "a/other": RNG.integers(0, 256, (5, 4, 3), dtype=np.uint8),
}


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw" / "photos"
    for name, pixels in IMAGES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture
def prepared(raw, tmp_path):
    destination = tmp_path / "prepared" / "photos"
    prepare(raw, destination, [2, 3, 4])
    return destination


def test_images_come_back_as_they_were(prepared):
    opened = PreparedSet.open(prepared)
    assert (opened.name, opened.scales, len(opened)) == ("photos", [2, 3, 4], 3)
    assert opened.names == ["a/grey", "a/other", "b"]
    for i, name in enumerate(opened.names):
        np.testing.assert_array_equal(opened.hr(i), IMAGES[name])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lr_is_the_resized_crop(prepared, scale):
    opened = PreparedSet.open(prepared)
    for i, name in enumerate(opened.names):
        height, width = (length // scale * scale for length in IMAGES[name].shape[:2])
        cropped = IMAGES[name][:height, :width]
        np.testing.assert_array_equal(opened.hr(i, scale), cropped)
        np.testing.assert_array_equal(opened.lr(i, scale), imresize(cropped, 1 / scale))


def test_maps_are_read_only_views_that_the_index_describes(prepared):
    opened = PreparedSet.open(prepared)
    assert not opened.hr(2).flags.writeable
    assert not opened.hr(2).flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        opened.lr_bytes(2)[0] = 0
    entry = opened.images[2]
    pixels = entry["height"] * entry["width"] * entry["channels"]
    np.testing.assert_array_equal(opened.hr_bytes[entry["offset"] : entry["offset"] + pixels], IMAGES["b"].ravel())
    assert opened.lr_bytes(3) is opened.lr_bytes(3)


def test_the_index_has_the_hashes_of_the_files(prepared):
    index = json.loads((prepared / "index.json").read_text())
    assert sorted(index["sha256"]) == ["hr.bin", "x2.bin", "x3.bin", "x4.bin"]
    assert sorted(path.name for path in prepared.iterdir()) == ["hr.bin", "index.json", "x2.bin", "x3.bin", "x4.bin"]
    for name, sha256 in index["sha256"].items():
        assert hashlib.sha256((prepared / name).read_bytes()).hexdigest() == sha256


def test_bytes_depend_on_the_images_alone(raw, prepared):
    again = raw.parents[1] / "again" / "photos"
    prepare(raw, again, [2, 3, 4])
    for path in prepared.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_preparing_again_replaces_what_was_there(raw, prepared):
    (prepared / "stale").touch()
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    leftover = prepared.with_name(f".photos.{MACHINE}.{ended.stdout.strip()}.tmp")
    leftover.mkdir()
    (leftover / "hr.bin").write_bytes(b"of an interrupted run")
    prepare(raw, prepared, [2])
    assert sorted(path.name for path in prepared.iterdir()) == ["hr.bin", "index.json", "x2.bin"]
    assert not leftover.exists()


@pytest.mark.parametrize("mode", ["P", "RGBA", "1", "LA", "CMYK"])
def test_other_modes_become_rgb(tmp_path, mode):
    image = Image.fromarray(IMAGES["b"]).convert(mode)
    (tmp_path / "raw").mkdir()
    path = tmp_path / "raw" / ("x.jpg" if mode == "CMYK" else "x.png")
    image.save(path)
    prepare(tmp_path / "raw", tmp_path / "prepared", [2])
    with Image.open(path) as saved:
        expected = np.asarray(saved.convert("RGB"))
    np.testing.assert_array_equal(PreparedSet.open(tmp_path / "prepared").hr(0), expected)


def damage_truncated(raw):
    path = raw / "b.png"
    path.write_bytes(path.read_bytes()[:200])


def damage_no_image(raw):
    (raw / "b.png").write_text("nothing of the kind")


def damage_too_small(raw):
    Image.new("RGB", (40, 3)).save(raw / "b.png")


def damage_same_stem(raw):
    Image.new("RGB", (40, 30)).save(raw / "b.jpg")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_truncated, r"b\.png: cannot be read as an image"),
        (damage_no_image, r"b\.png: cannot be read as an image"),
        (damage_too_small, r"b\.png: 3×40 pixels are too few for ×4"),
        (damage_same_stem, "only in the suffix"),
    ],
)
def test_a_bad_image_is_named_and_nothing_is_left(raw, tmp_path, damage, message):
    damage(raw)
    with pytest.raises(InputError, match=message):
        prepare(raw, tmp_path / "prepared" / "photos", [2, 3, 4])
    opened = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert not [name for name in opened if str(tmp_path) in name]
    assert os.listdir(tmp_path / "prepared") == [] if (tmp_path / "prepared").exists() else True


def test_a_set_that_lies_elsewhere_stays_there(raw, tmp_path):
    (tmp_path / "large-disk").mkdir()
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "photos").symlink_to(tmp_path / "large-disk" / "photos")
    for _ in range(2):
        prepare(raw, tmp_path / "prepared" / "photos", [2])
        assert (tmp_path / "prepared" / "photos").is_symlink()
        assert (tmp_path / "large-disk" / "photos" / "index.json").is_file()


def test_a_folder_without_images(tmp_path):
    with pytest.raises(InputError, match="has no images"):
        prepare(tmp_path / "missing", tmp_path / "prepared", [2])


@pytest.mark.parametrize("name", ["hr.bin", "x3.bin", "index.json"])
def test_a_missing_file_is_named_with_the_remedy(prepared, name):
    (prepared / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: .*run `dvc repro prepare`"):
        PreparedSet.open(prepared)


@pytest.mark.parametrize("name", ["hr.bin", "x4.bin", "index.json"])
def test_a_truncated_file_is_named_with_the_remedy(prepared, name):
    path = prepared / name
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=rf"{name}: .*run `dvc repro prepare`"):
        PreparedSet.open(prepared)


def test_another_format_is_refused(prepared):
    path = prepared / "index.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(InputError, match="format: is 2 instead of 1"):
        PreparedSet.open(prepared)


def test_a_scale_that_was_not_prepared(raw, tmp_path):
    prepare(raw, tmp_path / "photos", [2])
    with pytest.raises(InputError, match="×3 is not prepared"):
        PreparedSet.open(tmp_path / "photos").lr(0, 3)
