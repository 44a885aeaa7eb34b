"""Files, folders and patterns: what `binsr upscale` reads and where it writes."""

import os

import pytest
from PIL import Image

from tests.small import picture

TOO_LONG = "x" * 300


def put(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(0, 8, 9)).save(path)


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder: photos, some in a folder below, and what is no photo."""
    put(tmp_path / "photos/a.png", tmp_path / "photos/b.JPG", tmp_path / "photos/trip/c.webp")
    put(tmp_path / "photos/.hidden/d.png")
    (tmp_path / "photos/notes.txt").write_text("no image")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def upscale(place, binsr, network):
    def run(*arguments):
        return binsr("upscale", *arguments, "--model", network)

    return run


def test_a_folder_keeps_its_structure(place, upscale):
    done = upscale("photos", "-o", "out")
    assert done.code == 0 and "3 images" in done.out
    assert files(place / "out") == ["a.png", "b.JPG", "trip/c.webp"]
    assert Image.open(place / "out/trip/c.webp").size == (18, 16)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("photos/*", ["a.png", "b.JPG"]), ("photos/**/*.webp", ["c.webp"]), ("photo?/[a].png", ["a.png"])],
)
def test_a_pattern_that_the_shell_did_not_expand(place, upscale, pattern, expected):
    assert upscale(pattern, "-o", "out").code == 0
    assert files(place / "out") == expected


def test_a_file_whose_name_looks_like_a_pattern(place, upscale):
    put(place / "odd[1].png")
    assert upscale("odd[1].png", "-o", "out").code == 0
    assert files(place / "out") == ["odd[1].png"]


def test_one_image_to_one_image_or_into_a_folder(place, upscale):
    assert upscale("photos/a.png", "-o", "big.webp").code == 0
    assert Image.open("big.webp").format == "WEBP"
    assert upscale("photos/a.png", "-o", "big").code == 0
    assert files(place / "big") == ["a.png"]
    (place / "dir.png").mkdir()
    assert upscale("photos/a.png", "-o", "dir.png").code == 0
    assert files(place / "dir.png") == ["a.png"]


def test_a_dot_in_the_name_of_a_folder(place, upscale):
    assert upscale("photos", "-o", "out.v2").code == 0
    assert upscale("photos/a.png", "photos/b.JPG", "-o", "out.v3").code == 0
    assert upscale("photos/trip/c.webp", "-o", "out.v3").code == 0  # which exists by now
    assert files(place / "out.v2") == ["a.png", "b.JPG", "trip/c.webp"]
    assert files(place / "out.v3") == ["a.png", "b.JPG", "c.webp"]


def test_a_result_whose_path_is_too_long_is_named_and_the_others_go_on(place, upscale):
    long = f"{'x' * 251}.png"  # of 255 letters; with .webp it is one too many
    put(place / "more/a.png")
    os.rename(place / "photos/a.png", place / "more" / long)
    done = upscale("more", "-o", "out", "--format", "webp")
    assert done.code == 2 and "1 image upscaled" in done.out and "1 failed" in done.out
    assert files(place / "out") == ["a.webp"] and "too long" in done.err and done.err.count("\n") == 1


def test_another_format(place, upscale):
    assert upscale("photos", "-o", "out", "--format", "jpeg").code == 0
    assert files(place / "out") == ["a.jpg", "b.JPG", "trip/c.jpg"]
    assert {Image.open(place / "out" / name).format for name in files(place / "out")} == {"JPEG"}


def test_results_inside_the_folder_are_not_read_again(place, upscale):
    for _ in range(2):
        assert upscale("photos", "-o", "photos/big").code == 0
    assert files(place / "photos/big") == ["a.png", "b.JPG", "trip/c.webp"]


def test_the_same_image_twice_is_one(place, upscale):
    done = upscale("photos/a.png", "photos/../photos/a.png", "-o", "out")
    assert done.code == 0 and "1 image upscaled" in done.out


def test_existing_results_are_skipped_and_counted_or_overwritten(place, upscale):
    upscale("photos/a.png", "-o", "out")
    (place / "out/a.png").write_bytes(b"mine")
    done = upscale("photos", "-o", "out")
    assert "2 images upscaled" in done.out and "1 skipped" in done.out and done.code == 0
    assert (place / "out/a.png").read_bytes() == b"mine"
    done = upscale("photos", "-o", "out", "--overwrite")
    assert "3 images upscaled" in done.out and "skipped" not in done.out
    assert Image.open(place / "out/a.png").size == (18, 16)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["photos/missing.png", "-o", "out"], ["photos/missing.png"]),
        (["photos/a.png", "photos/*.gif", "-o", "out"], ["photos/*.gif"]),
        (["empty", "-o", "out"], ["empty"]),
        (["photos/a.png", "-o", "photos/a.png"], ["photos/a.png"]),
        (["photos", "-o", "photos"], ["photos/a.png"]),
        (["photos/a.png", "link.png", "-o", "out/../"], ["link.png"]),
        (["photos", "-o", "out.png"], ["out.png"]),
        (["photos/a.png", "photos/b.JPG", "-o", "out.png"], ["out.png"]),
        (["photos/a.png", "more/a.png", "-o", "out"], ["photos/a.png", "more/a.png", "out/a.png"]),
        (["photos/a.png", "more/a.tif", "-o", "out", "--format", "png"], ["photos/a.png", "more/a.tif"]),
        (["photos/a.png", "-o", "photos/notes.txt"], ["photos/notes.txt"]),
        (["photos/a.png", "-o", "out.png", "--format", "jpeg"], ["--format", "out.png"]),
        (["photos/a.png", "-o", "result.gif"], ["result.gif", ".png", "folder"]),
        ([TOO_LONG, "-o", "out"], [TOO_LONG, "too long"]),
        (["photos/a.png", "-o", TOO_LONG], [TOO_LONG, "too long"]),
        (["photos/a.png", "-o", f"{TOO_LONG}.png"], [f"{TOO_LONG}.png", "too long"]),
    ],
)
def test_wrong_places_are_named_before_anything_runs(place, upscale, arguments, named):
    (place / "empty").mkdir()
    put(place / "more/a.png", place / "more/a.tif")
    os.symlink(place / "photos/a.png", place / "link.png")
    before = files(place)
    done = upscale(*arguments)
    assert done.code == 2 and done.out == ""
    assert done.err.startswith("error: ") and done.err.count("\n") == 1
    assert all(name in done.err for name in named), done.err
    assert files(place) == before


def test_an_output_folder_above_the_input_hides_nothing(upscale, place):
    done = upscale("photos", "-o", ".")
    assert done.code == 0 and "3 images upscaled" in done.out, done.err
    assert (place / "a.png").exists() and (place / "trip/c.webp").exists()


@pytest.mark.parametrize("spelling", ["file://{}/photos", "file://{}/photos/../photos", "local://{}/photos"])
def test_an_address_of_a_local_folder_is_that_folder(place, upscale, spelling):
    address = spelling.format(place)
    for source, out in (("photos", address), (address, "photos")):
        done = upscale(source, "-o", out, "--overwrite")
        assert done.code == 2 and "would replace an input" in done.err
    assert upscale(address, "-o", "out").code == 0
    assert files(place / "out") == ["a.png", "b.JPG", "trip/c.webp"]
