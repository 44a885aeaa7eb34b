import re
from pathlib import Path

import pooch
import pytest
import skimage
from PIL import Image

from pipeline.data.registry import dataset, registry
from pipeline.errors import InputError
from tests.conftest import SHARED

MIRROR = SHARED / "mirror"


def smallest_side(folder, name):
    return min(min(Image.open(folder / file.name).size) for file in dataset(name).files)


def test_known_sets_and_their_sizes():
    assert {name: source.images for name, source in registry().items()} == {
        "embedded-train": 11,
        "embedded-valid": 1,
        "embedded-test": 3,
        "Set5": 5,
        "Set14": 14,
        "B100": 100,
        "Urban100": 100,
        "BSDS500-train": 390,
        "BSDS500-valid": 10,
        "DIV2K-train": 800,
        "DIV2K-valid": 100,
        "VDSR": 0,  # a trained network
    }


@pytest.mark.parametrize("source", registry().values(), ids=lambda source: source.name)
def test_entries_are_sane(source):
    names = [file.name for file in source.files]
    assert names == sorted(set(names))
    assert len(names) == (1 if source.is_archive or source.images == 0 else source.images)
    assert len({file.sha256 for file in source.files}) == len(names)
    for file in source.files:
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.bytes > 1000
        assert not file.name.startswith("/")
        assert ".." not in file.name.split("/")
    for address in source.addresses:
        assert re.match("(https|package)://", address)
        assert address.count("{file}") == 1


def test_no_image_is_in_two_sets():
    hashes = [file.sha256 for source in registry().values() for file in source.files]
    assert len(set(hashes)) == len(hashes)


def test_the_images_held_out_for_validation_are_of_the_set_that_trains():
    parts = {name: [file.name for file in dataset(name).files] for name in ("BSDS500-train", "BSDS500-valid")}
    both = sorted(parts["BSDS500-train"] + parts["BSDS500-valid"])
    assert len(set(both)) == 400 and {name.split("/")[0] for name in both} == {"train", "test"}
    assert {dataset(name).folder for name in parts} == {"BSDS500"}


@pytest.mark.parametrize("name", ["embedded-train", "embedded-valid", "embedded-test"])
def test_embedded_photographs_ship_with_the_package(name):
    for file in dataset(name).files:
        path = Path(skimage.__file__).parent / "data" / file.name
        assert path.stat().st_size == file.bytes
        assert pooch.file_hash(path) == file.sha256
    assert smallest_side(Path(skimage.__file__).parent / "data", name) == dataset(name).smallest_side


@pytest.mark.skipif(not MIRROR.is_dir(), reason="needs ../shared/mirror")
@pytest.mark.parametrize("name", ["Set5", "Set14", "B100", "Urban100", "BSDS500-train", "BSDS500-valid", "VDSR"])
def test_sizes_are_those_of_the_mirror(name):
    source = dataset(name)
    for file in source.files:
        assert (MIRROR / source.folder / file.name).stat().st_size == file.bytes
    if source.images:
        assert smallest_side(MIRROR / source.folder, name) == source.smallest_side


def test_an_unknown_name_is_told_the_known_ones():
    with pytest.raises(InputError, match=r"Set6: unknown data set; choose one of .*Set5, Set14"):
        dataset("Set6")
