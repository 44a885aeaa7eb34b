"""`binsr upscale`: networks, settings, images that fail, interruption, JSON."""

import json
import os
import signal
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from pipeline.cli import app
from pipeline.cli.pictures import SUFFIXES
from pipeline.engine import Engine, runner
from pipeline.files import MACHINE
from pipeline.models import build
from pipeline.packed import read
from pipeline.packing import save
from pipeline.records import Quality
from pipeline.zoo.catalogue import PublishedScores, read_published, write_index, write_published
from tests.cli.conftest import TINY
from tests.engine.random_networks import save_random
from tests.small import picture


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(picture(0, 20, 26)).save(path)
    return path


def pixels(path):
    return np.asarray(Image.open(path))


def refused(done, *named):
    assert done.code == 2 and done.out == "" and done.err.count("\n") == 1
    assert done.err.startswith("error: ") and all(name in done.err for name in named), done.err


def test_choices_are_those_of_the_engine_and_the_formats():
    assert get_args(app.Activations) == get_args(runner.Activations)
    assert get_args(app.FloatLayers) == get_args(runner.FloatLayers)
    assert set(get_args(app.Format)) == set(SUFFIXES)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ([], {}),
        (["--activations", "int8"], {"activations": "int8"}),
        (["--activations", "int8", "--float-layers", "int8"], {"activations": "int8", "float_layers": "int8"}),
        (["--tile", "8"], {}),
        (["--threads", "1"], {}),
    ],
)
def test_options_reach_the_engine(tmp_path, image, network, binsr, options, arguments):
    assert binsr("upscale", image, "-o", tmp_path / "b.png", "--model", network, *options).code == 0
    assert np.array_equal(pixels(tmp_path / "b.png"), Engine.load(network, **arguments).upscale(pixels(image)))


def test_the_default_network_is_the_published_one_of_the_scale(tmp_path, image, zoo, binsr):
    for options, name in (
        ([], "srresnet-x4-binary"),
        (["--scale", "2"], "srresnet-x2-binary"),
        (["--model", "srresnet-x2-float"], "srresnet-x2-float"),  # the engine runs float networks too
        (["--model", "srresnet-x2-float", "--scale", "2"], "srresnet-x2-float"),
    ):
        done = binsr("upscale", image, "-o", tmp_path / "b.png", "--overwrite", *options)
        assert done.code == 0 and name in done.out
        expected = Engine.load(zoo / f"{name}.safetensors").upscale(pixels(image))
        assert np.array_equal(pixels(tmp_path / "b.png"), expected)


def test_the_default_network_is_the_most_accurate_of_the_scale(tmp_path, image, zoo, binsr):
    training = {"variant": "", "iterations": 1, "plan": {"profile": "bsd", "start": None}}
    saved = zoo / "edsr-x2-binary.safetensors"
    save_random(saved, "edsr", 2, "binary", {"training": training}, **TINY)
    index = {network.name: network for network in write_index(zoo)}
    published = read_published(zoo)
    for psnr_y, name in ((None, "srresnet"), (32.4, "srresnet"), (32.6, "edsr")):  # where the first one has 32.5
        if psnr_y is not None:
            sets = {"Set5": {"torch": Quality(psnr_y, None, 0.9)}, "Set14": {"torch": Quality(40, None, 0.9)}}
            published |= {"edsr-x2-binary": PublishedScores(index["edsr-x2-binary"].sha256, sets)}
            write_published(zoo, published)
        done = binsr("upscale", image, "-o", tmp_path / "b.png", "--overwrite", "--scale", "2")
        assert done.code == 0 and f"{name}-x2-binary\n" in done.out
    published |= {"edsr-x2-binary": PublishedScores(index["edsr-x2-binary"].sha256, {"Set5": {}, "Set14": {}})}
    write_published(zoo, published)  # its scores by PyTorch are yet to come
    assert binsr("upscale", image, "-o", tmp_path / "b.png", "--overwrite", "--scale", "2").code == 0
    sets = {"Set5": {"torch": Quality(32.7, None, 0.9)}, "Set14": {"torch": Quality(40, None, 0.9)}}
    for variant, used in (("warm", False), ("long", True)):  # the first compares trainings, the other is for use
        name = f"edsr-x2-binary-{variant}"
        about = {"training": training | {"variant": variant}}
        save_random(zoo / f"{name}.safetensors", "edsr", 2, "binary", about, **TINY)
        index = {network.name: network for network in write_index(zoo)}
        published |= {name: PublishedScores(index[name].sha256, sets)}
        write_published(zoo, published)
        done = binsr("upscale", image, "-o", tmp_path / "b.png", "--overwrite", "--scale", "2")
        assert done.code == 0 and (name in done.out) == used


def test_a_network_for_luma(tmp_path, image, binsr):
    save_random(tmp_path / "n.safetensors", "vdsr", 3, "binary", layers=3, channels=8)
    assert binsr("upscale", image, "-o", tmp_path / "b.png", "--model", tmp_path / "n.safetensors").code == 0
    expected = Engine.load(tmp_path / "n.safetensors").upscale(pixels(image))
    assert np.array_equal(pixels(tmp_path / "b.png"), expected)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--model", "srresnet-x4-binary", "--scale", "2"], ["srresnet-x2-float, srresnet-x2-binary"]),
        (["--model", "srresnet-x2-binary", "--scale", "3"], ["for scale 3 there is none"]),
        (["--scale", "3"], ["srresnet-x3-binary, edsr-x3-binary, vdsr-x3-binary", "there is none", "--model"]),
        (["--model", "edsr-x2"], ["edsr-x2", "srresnet-x4-binary"]),
        (["--model", "srresnet-x2-float", "--activations", "int8"], ["activations", "float32"]),
        (["--model", "srresnet-x2-binary", "--activations", "int6"], ["activations.int6"]),
        (["--activations", "int7"], ["--activations", "int7"]),
        (["--scale", "5"], ["--scale"]),
        (["--threads", "0"], ["--threads"]),
        (["--threads", "100000"], ["threads: 100000"]),
        (["--tile", "0"], ["--tile"]),
        (["--sale", "2"], ["--sale", "binsr upscale --help"]),
    ],
)
def test_wrong_options(tmp_path, image, zoo, binsr, options, named):
    refused(binsr("upscale", image, "-o", tmp_path / "out", *options), *named)
    assert not (tmp_path / "out").exists()


def test_a_network_whose_file_has_changed_is_refused(tmp_path, image, zoo, binsr):
    path = zoo / "srresnet-x4-binary.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    refused(binsr("upscale", image, "-o", tmp_path / "b.png"), str(path))
    path.unlink()
    refused(binsr("upscale", image, "-o", tmp_path / "b.png"), str(path))


def test_a_file_that_is_no_network(tmp_path, image, binsr):
    (tmp_path / "n.safetensors").write_bytes(b"nothing")
    refused(binsr("upscale", image, "-o", tmp_path / "b.png", "--model", tmp_path / "n.safetensors"), "n.safetensors")


def broken(folder):
    """Images of which two can be read."""
    folder.mkdir()
    Image.fromarray(picture(0)).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"")
    (folder / "c.jpg").write_text("no image")
    whole = (folder / "a.png").read_bytes()
    (folder / "d.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(picture(1)).save(folder / "e.webp")
    return folder


def test_broken_images_are_named_and_the_others_go_on(tmp_path, network, binsr):
    done = binsr("upscale", broken(tmp_path / "in"), "-o", tmp_path / "out", "--model", network)
    assert done.code == 2 and "2 images upscaled" in done.out and "3 failed" in done.out
    lines = done.err.splitlines()
    assert len(lines) == 3
    for line, name in zip(lines, ("b.png", "c.jpg", "d.png"), strict=True):
        assert line.startswith("error: ") and name in line
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "e.webp"]


def test_an_image_of_no_known_format_needs_one_to_be_named(tmp_path, image, network, binsr):
    image.rename(tmp_path / "photo")
    done = binsr("upscale", tmp_path / "photo", "-o", tmp_path / "out", "--model", network)
    assert done.code == 2 and "--format" in done.err
    done = binsr("upscale", tmp_path / "photo", "-o", tmp_path / "out", "--model", network, "--format", "png")
    assert done.code == 0 and Image.open(tmp_path / "out/photo.png").size == (52, 40)


def test_a_place_that_cannot_be_written(tmp_path, image, network, binsr):
    (tmp_path / "file").write_text("in the way")
    done = binsr("upscale", image, "-o", tmp_path / "file" / "out" / "b.png", "--model", network)
    assert done.code == 2 and "b.png: cannot be written" in done.err and done.err.count("\n") == 1


def test_more_memory_than_there_is(tmp_path, image, network, binsr, monkeypatch):
    def upscale(self, image):
        raise MemoryError

    monkeypatch.setattr(Engine, "upscale", upscale)
    done = binsr("upscale", image, "-o", tmp_path / "b.png", "--model", network)
    assert done.code == 2 and "a.png" in done.err and "memory" in done.err


def test_json_tells_all(tmp_path, network, binsr):
    folder = broken(tmp_path / "in")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/e.webp").write_bytes(b"mine")
    done = binsr("upscale", folder, "-o", tmp_path / "out", "--model", network, "--json")
    assert done.code == 2 and done.err.count("\n") == 3
    told = json.loads(done.out)
    assert (told["model"], told["scale"], told["activations"]) == ("tiny.safetensors", 2, "float32")
    assert (told["upscaled"], told["skipped"], told["failed"]) == (1, 1, 3)
    status = {record["input"]: record["status"] for record in told["files"]}
    assert status == {
        str(folder / name): state
        for name, state in zip(
            ("a.png", "b.png", "c.jpg", "d.png", "e.webp"),
            ("upscaled", "failed", "failed", "failed", "skipped"),
            strict=True,
        )
    }
    first = told["files"][0]
    assert first["output"] == str(tmp_path / "out/a.png") and first["seconds"] > 0 and first["notes"] == []
    assert (first["input_size"], first["output_size"]) == ([40, 36], [80, 72])
    assert "b.png" in told["files"][1]["error"]


@pytest.mark.parametrize("where", ["upscale", "save"])
def test_an_interruption_leaves_no_half_file(tmp_path, network, binsr, monkeypatch, where):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(picture(0)).save(tmp_path / "in" / name)
    calls = []
    upscale, save = Engine.upscale, Image.Image.save

    def interrupted_upscale(self, image):
        calls.append(image)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return upscale(self, image)

    def interrupted_save(self, path, *arguments, **options):
        calls.append(path)
        if len(calls) == 2:
            path.write(b"half")
            raise KeyboardInterrupt
        save(self, path, *arguments, **options)

    if where == "upscale":
        monkeypatch.setattr(Engine, "upscale", interrupted_upscale)
    else:
        monkeypatch.setattr(Image.Image, "save", interrupted_save)
    done = binsr("upscale", tmp_path / "in", "-o", tmp_path / "out", "--model", network)
    assert done.code == 130 and len(calls) == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]
    assert Image.open(tmp_path / "out/a.png").size == (72, 80)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_half_file(tmp_path, network, image, binsr, monkeypatch, number):
    def ended_save(self, path, *arguments, **options):
        path.write(b"half")
        os.kill(os.getpid(), number)

    monkeypatch.setattr(Image.Image, "save", ended_save)
    before = signal.signal(number, signal.default_int_handler)  # where these tests run under nohup, it is ignored
    try:
        done = binsr("upscale", image, "-o", tmp_path / "out", "--model", network)
        assert done.code == 128 + number and list((tmp_path / "out").iterdir()) == []
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_what_a_killed_call_left_is_swept(tmp_path, network, image, binsr):
    (tmp_path / "out").mkdir()
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    (tmp_path / "out" / f".b.png.{MACHINE}.{ended.stdout.strip()}.tmp").write_bytes(b"half")
    assert binsr("upscale", image, "-o", tmp_path / "out", "--model", network).code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


def test_a_network_without_finite_output_is_one_line_for_each_image(tmp_path, image, binsr):
    packed = read(save_overflowing(tmp_path / "network.safetensors"))
    assert all(np.isfinite(value).all() for value in packed.tensors.values())
    done = binsr("upscale", image, "-o", tmp_path / "out", "--model", tmp_path / "network.safetensors")
    assert done.code == 2 and done.err.startswith(f"error: {image}: the network's output is not finite; ")
    assert done.err.count("\n") == 1 and not (tmp_path / "out").exists()


def save_overflowing(path):
    module = build("edsr", 2, "binary", blocks=1, channels=8)
    for layer in (module.head, module.tail):
        layer.weight.data.fill_(1e30)
    save(module, path)
    return path
