"""Images at addresses: an S3 server on this machine, and fsspec's file system in memory."""

import io
import json

import numpy as np
import pytest
from fsspec.core import url_to_fs
from PIL import Image

from pipeline.cli.addresses import Address, local_target, place_of
from tests.small import picture


def put(url, number=0):
    data = io.BytesIO()
    Image.fromarray(picture(number, 8, 9)).save(data, url.rpartition(".")[2].upper())
    files, path = url_to_fs(url)
    files.pipe_file(path, data.getvalue())


def pixels(url):
    with url_to_fs(url)[0].open(url) as file:
        return np.asarray(Image.open(file))


def names(url):
    return [name.as_posix() for name in Address(url).below()]


@pytest.fixture(params=["s3", "memory"])
def root(request, tmp_path):
    """An address below which there is nothing yet."""
    base = request.getfixturevalue("s3") if request.param == "s3" else "memory://photos"
    return f"{base}/{tmp_path.name}"


def test_a_folder_keeps_its_names_and_what_exists_is_skipped(root, binsr, network, engine):
    for number, name in enumerate(("a.png", "trip/b.png", "trip/.hidden/c.png")):
        put(f"{root}/in/{name}", number)
    url_to_fs(root)[0].pipe_file(f"{root}/in/notes.txt", b"no image")
    upscale = ("upscale", f"{root}/in", "-o", f"{root}/out", "--model", network)
    done = binsr(*upscale)
    assert done.code == 0 and "2 images upscaled" in done.out, done.err
    assert names(f"{root}/out") == ["a.png", "trip/b.png"]
    assert np.array_equal(pixels(f"{root}/out/trip/b.png"), engine.upscale(picture(1, 8, 9)))
    assert "0 images upscaled" in (said := binsr(*upscale).out) and "2 skipped" in said


def test_from_an_address_to_a_folder_and_back(root, binsr, network, tmp_path):
    put(f"{root}/in/a.png")
    assert binsr("upscale", f"{root}/in/a.png", "-o", tmp_path / "a.png", "--model", network).code == 0
    assert binsr("upscale", tmp_path / "a.png", "-o", f"{root}/out/b.png", "--model", network).code == 0
    assert pixels(f"{root}/out/b.png").shape == (32, 36, 3)


def test_a_pattern(root, binsr, network):
    for name in ("a.png", "ab.png", "b.png"):
        put(f"{root}/in/{name}")
    done = binsr("upscale", f"{root}/in/a*.png", "-o", f"{root}/out", "--model", network, "--format", "webp")
    assert done.code == 0 and names(f"{root}/out") == ["a.webp", "ab.webp"]


def test_an_output_inside_the_input_is_no_input(root, binsr, network):
    put(f"{root}/a.png")
    for count in ("1 image upscaled", "0 images upscaled"):
        assert count in binsr("upscale", root, "-o", f"{root}/out", "--model", network).out


def test_a_bad_image_is_named_by_its_address_and_leaves_nothing(root, binsr, network):
    put(f"{root}/in/a.png")
    url_to_fs(root)[0].pipe_file(f"{root}/in/bad.png", b"no image")
    done = binsr("upscale", f"{root}/in", "-o", f"{root}/out", "--model", network, "--json")
    assert done.code == 2 and done.err.startswith(f"error: {root}/in/bad.png: cannot be read as an image")
    assert done.err.count("\n") == 1 and "/tmp" not in done.err
    record = json.loads(done.out)
    assert [each["status"] for each in record["files"]] == ["upscaled", "failed"]
    assert names(f"{root}/out") == ["a.png"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://no-such-bucket/a.png", "no such file or folder"),
        ("nothing://a.png", "cannot be used (Protocol not known: nothing)"),
        ("memory://nowhere/*.png", "matches no image"),
    ],
)
def test_an_address_that_cannot_be_read(s3, binsr, network, tmp_path, address, said):
    done = binsr("upscale", address, "-o", tmp_path / "out", "--model", network)
    assert done.code == 2 and done.err.startswith(f"error: {address}: ") and said in done.err
    assert done.err.count("\n") == 1


def test_an_output_that_fails_leaves_nothing(root):
    with pytest.raises(RuntimeError), local_target(place_of(f"{root}/a.png")) as path:
        path.write_bytes(b"half")
        raise RuntimeError
    assert not Address(f"{root}/a.png").exists()


def test_an_input_is_not_replaced(root, binsr, network):
    put(f"{root}/a.png")
    done = binsr("upscale", f"{root}/a.png", "-o", f"{root}/a.png", "--model", network, "--overwrite")
    assert done.code == 2 and "would replace an input" in done.err
