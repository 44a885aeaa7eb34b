"""Tiles give the whole image's result to the bit, whatever their size."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine import Engine, runner, workspace
from pipeline.engine.calibration import calibrate
from pipeline.engine.epilogue import Epilogue
from pipeline.engine.kernels.channel import compiled as channel_kernels
from pipeline.engine.layers import Layer, layers_of, receptive_radius
from pipeline.engine.networks import Architecture
from pipeline.engine.parts import parted
from pipeline.engine.tiles import Span, cut
from pipeline.errors import InputError
from pipeline.packed import read
from tests.engine.random_networks import save_random
from tests.small import picture

NETWORKS = {"srresnet": {"blocks": 1, "channels": 20}, "edsr": {"blocks": 1, "channels": 6}, "vdsr": {"layers": 4}}


@given(st.integers(1, 500), st.integers(1, 300), st.integers(0, 60))
def test_every_pixel_once_and_all_tiles_alike(length, tile, reach):
    spans = cut(Span.whole(length), tile, reach)
    assert [n for span in spans for n in range(span.first, span.last)] == list(range(length))
    assert len({span.read.stop - span.read.start for span in spans}) == 1
    for span in spans:
        assert span.last - span.first <= tile + tile % 2 and span.read.start % 2 == 0
        assert span.read.start == 0 or span.first - span.read.start >= reach
        assert span.read.stop == length or span.read.stop - span.last >= reach


@given(st.integers(1, 500), st.integers(1, 300), st.integers(0, 60), st.integers(1, 200), st.integers(0, 60))
def test_tiles_of_tiles_are_within_them(length, tile, reach, smaller, less):
    less = min(less, reach)
    for span in cut(Span.whole(length), tile, reach):
        parts = cut(span, smaller, less)
        assert [n for part in parts for n in range(part.first, part.last)] == list(range(span.first, span.last))
        assert len({part.read.stop - part.read.start for part in parts}) == 1
        for part in parts:
            assert part.read.start % 2 == 0
            assert span.read.start <= part.read.start and part.read.stop <= span.read.stop
            assert part.read.start in (0, span.read.start) or part.first - part.read.start >= less
            assert part.read.stop in (length, span.read.stop) or part.read.stop - part.last >= less
            assert part.read.start == 0 or part.first - part.read.start >= less
            assert part.read.stop == length or part.read.stop - part.last >= less


@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_reach_is_as_far_as_a_pixel_shows(tmp_path, model, scale):
    path = tmp_path / "network.safetensors"
    save_random(path, model, scale, "float", **NETWORKS[model])
    packed = read(path)
    reach = receptive_radius(layers_of(packed, Architecture.of(packed)))
    engine = Engine(packed)
    side = 2 * reach + 5
    x = np.zeros((engine.architecture.channels, side, side), np.float32)
    changed = x.copy()
    changed[:, side // 2, side // 2] = 1
    rows = np.flatnonzero((engine.forward(x) != engine.forward(changed)).any(axis=(0, 2)))
    factor = 1 if model == "vdsr" else scale
    middle = factor * (side // 2)
    # From an input pixel to the furthest output pixel, of those that the pixel itself becomes: no more than the reach,
    # which is rounded up, and not less by more than that.
    furthest = max(middle - rows[0], rows[-1] - middle - factor + 1)
    assert factor * (reach - 1) < furthest <= factor * reach


needs_bfloat16 = pytest.mark.skipif(not channel_kernels.bfloat16_supported(), reason="a processor without AVX-512 BF16")


@pytest.mark.parametrize(
    "mode",
    [
        {},
        {"activations": "int8"},
        {"activations": "int6", "float_layers": "int8"},
        pytest.param({"float_layers": "bfloat16"}, marks=needs_bfloat16),
    ],
    ids=str,
)
@pytest.mark.parametrize("model", NETWORKS)
def test_tiles_change_no_bit(tmp_path, monkeypatch, model, mode):
    monkeypatch.setattr(runner, "SHUFFLED_TILE", 9)
    path = tmp_path / "network.safetensors"
    save_random(path, model, 3, **NETWORKS[model])
    ranges = calibrate(path, [picture(0, 12, 17)])
    save_random(path, model, 3, metadata={"activations": ranges}, **NETWORKS[model])
    whole = Engine.load(path, tile=None, **mode)
    x = np.random.default_rng(0).random((whole.architecture.channels, 61, 83), np.float32)
    expected = whole.forward(x)
    for tile in (1 if model == "vdsr" else 7, 16, 40):
        tiled = Engine.load(path, tile=tile, **mode)
        np.testing.assert_array_equal(tiled.forward(x[:, :30, :40]), whole.forward(x[:, :30, :40]))
        np.testing.assert_array_equal(tiled.forward(x), expected)
        image = picture(1, 47, 53)
        np.testing.assert_array_equal(tiled.upscale(image), whole.upscale(image))


def test_memory_is_bounded_by_the_tile(tmp_path):
    path = tmp_path / "network.safetensors"
    save_random(path, "vdsr", 2, **NETWORKS["vdsr"])
    x = np.random.default_rng(0).random((1, 400, 600), np.float32)

    def held(tile):
        engine = Engine.load(path, tile=tile)
        engine.forward(x)
        return engine.ops.workspace.nbytes

    assert held(64) < held(None) / 8


@pytest.mark.parametrize("model", NETWORKS)
def test_an_image_takes_little_more_memory_than_its_tiles(tmp_path, monkeypatch, model):
    monkeypatch.setattr(runner, "SHUFFLED_TILE", 24)
    path = tmp_path / "network.safetensors"
    save_random(path, model, 4, **NETWORKS[model])
    image = np.random.default_rng(0).integers(0, 256, (160, 300, 3), np.uint8)

    def peak(tile):
        engine = Engine.load(path, tile=tile)
        engine.upscale(image[:30, :30])
        tracemalloc.start()
        engine.upscale(image)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found - 16 * image.nbytes  # the result

    assert peak(48) < peak(None) / 5


def test_a_tile_has_a_pixel_at_least(tmp_path):
    save_random(tmp_path / "network.safetensors", "vdsr", 2, layers=3, channels=4)
    with pytest.raises(InputError, match="tile: 0 is too small; choose 1 or more"):
        Engine.load(tmp_path / "network.safetensors", tile=0)


def test_small_images_need_no_second_copy_of_the_filters(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(runner, "Parts", lambda *arguments: made.append(arguments))
    save_random(tmp_path / "network.safetensors", "edsr", 2, **NETWORKS["edsr"])
    engine = Engine.load(tmp_path / "network.safetensors")
    engine.upscale(picture(0, 40, 60))
    assert made == []


@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize("allocations", [1, 4])
def test_an_image_without_enough_memory_leaves_none_taken(tmp_path, monkeypatch, model, allocations):
    monkeypatch.setattr(runner, "SHUFFLED_TILE", 9)
    path = tmp_path / "network.safetensors"
    save_random(path, model, 2, **NETWORKS[model])
    engine, image = Engine.load(path, tile=16), picture(0, 40, 60)
    runs = [engine.ops] if model == "vdsr" else [engine.ops, engine._parts()._first, engine._parts()._second]
    allocate, left = workspace._allocate, iter(range(allocations))

    def allocate_few(*arguments):
        if next(left, None) is None:
            raise MemoryError
        return allocate(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(workspace, "_allocate", allocate_few)
        with pytest.raises(MemoryError):
            engine.upscale(image)
    assert [ops.workspace.nbytes for ops in runs] == [0] * len(runs)
    np.testing.assert_array_equal(engine.upscale(image), Engine.load(path, tile=16).upscale(image))


def test_buffers_of_the_first_part_stay_for_the_next_image_of_one_tile(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "SHUFFLED_TILE", 9)
    save_random(tmp_path / "network.safetensors", "edsr", 2, **NETWORKS["edsr"])
    engine = Engine.load(tmp_path / "network.safetensors", tile=40)
    first, second = engine._parts()._first, engine._parts()._second
    small, large = picture(0, 40, 40), picture(1, 90, 120)
    expected = engine.upscale(small)
    step = first._steps[next(iter(first._steps))]
    np.testing.assert_array_equal(engine.upscale(small), expected)
    assert first._steps[next(iter(first._steps))] is step and second.workspace.nbytes > 0
    engine.upscale(large)
    assert first.workspace.nbytes == 0
    np.testing.assert_array_equal(engine.upscale(small), expected)


def test_a_network_is_parted_only_where_one_output_crosses():
    def layers(**changes):
        filters, epilogue = np.ones((4, 4, 3, 3), np.float32), Epilogue(*np.ones((3, 4), np.float32))
        chain = {
            "head": Layer(filters, epilogue, readers=("body",)),
            "body": Layer(filters, epilogue, readers=("up",)),
            "up": Layer(filters, epilogue, shuffle=2, readers=("tail",)),
            "tail": Layer(filters, epilogue),
        }
        return chain | {name: replace(chain[name], **change) for name, change in changes.items()}

    first, second = parted(layers(head={"adders": ("body",)}))
    assert (list(first), list(second)) == (["head", "body"], ["up", "tail"]) and first["body"].readers == ()
    assert parted(layers(head={"readers": ("body", "tail")})) is None  # a skip across
    assert parted(layers(head={"adders": ("up",)})) is None
    assert parted(layers(up={"readers": ()})) is None  # the tail reads the network's input
    assert parted(layers(up={"shuffle": 1})) is None
