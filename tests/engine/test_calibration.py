"""Activation ranges, against those that PyTorch's hooks see."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pipeline.engine import Engine, ops
from pipeline.engine.calibration import SMALLEST_RANGE, _upper_percentiles, calibrate, measure
from pipeline.engine.networks import Architecture
from pipeline.engine.workspace import Workspace
from pipeline.errors import InputError
from pipeline.inference import upscale
from pipeline.models import build
from pipeline.models.binarize import BinaryConv2d
from pipeline.packed import read
from pipeline.packing import save
from tests.engine.random_networks import save_random
from tests.small import picture

IMAGES = [picture(0, 10, 13), picture(1, 9, 8, channels=1)]


@pytest.mark.parametrize(("model", "overrides"), [("srresnet", {"blocks": 2}), ("vdsr", {"layers": 4})])
@pytest.mark.parametrize("percentile", [100.0, 90.0])
def test_ranges_are_percentiles_of_the_inputs(tmp_path, model, overrides, percentile):
    path = tmp_path / "network.safetensors"
    module = save_random(path, model, 2, channels=6, **overrides).float()
    seen: dict[str, list[float]] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, BinaryConv2d):

            def hook(_, inputs, name=name):
                low, high = np.percentile(inputs[0].numpy(), [100 - percentile, percentile])
                before = seen.get(name, [0.0, 0.0])
                seen[name] = [min(before[0], float(low)), max(before[1], float(high))]

            layer.register_forward_pre_hook(hook)
    for image in IMAGES:
        upscale(module, image)
    ranges = calibrate(path, IMAGES, [percentile])
    assert ranges.keys() == {"int8", "int6", "int1", "float_layers"}
    for kind in ("int8", "int6"):
        assert list(ranges[kind]) == list(seen)
        for name, ends in ranges[kind].items():
            if ends is not None:
                np.testing.assert_allclose(ends, seen[name], rtol=1e-4, atol=1e-5)
    assert calibrate(read(path), IMAGES, [percentile]) == ranges


@pytest.mark.parametrize(("model", "scale", "sizes", "exact"), [
    ("srresnet", 2, {"blocks": 3}, (1, 1)), ("edsr", 4, {"blocks": 2}, (1, 1)), ("vdsr", 2, {"layers": 8}, (0, 3)),
    ("vdsr", 3, {"layers": 8}, (1, 3)), ("vdsr", 4, {"layers": 8}, (3, 3)), ("vdsr", 4, {"layers": 5}, (1, 1)),
])  # fmt: skip
def test_the_first_layers_stay_in_float32(tmp_path, model, scale, sizes, exact):
    save_random(tmp_path / "network.safetensors", model, scale, channels=6, **sizes)
    packed = read(tmp_path / "network.safetensors")
    ranges = calibrate(packed, IMAGES, [100.0, 99.0])
    assert None not in ranges["int1"].values()
    for kind, count in zip(("int8", "int6"), exact, strict=True):
        in_float = [ends is None for ends in ranges[kind].values()]
        assert in_float == [True] * count + [False] * (len(packed.binary) - count)
        engine = Engine(replace(packed, metadata={"activations": ranges}), kind, float_layers="int8")
        rounded = [convolution.rounding is not None for convolution in engine.ops.convolutions.values()]
        assert rounded[: count + 1] == [False] * (count + 1) and all(rounded[count + 1 :])


def test_buffers_of_other_sizes_are_not_kept(tmp_path, monkeypatch):
    path, workspaces = tmp_path / "network.safetensors", []
    save_random(path, "edsr", 2, channels=6, blocks=1)
    packed, inputs = read(path), [np.zeros((3, size, size), np.float32) for size in (12, 10, 8)]

    def workspace():
        workspaces.append(Workspace())
        return workspaces[-1]

    monkeypatch.setattr(ops, "Workspace", workspace)
    for some in (inputs, inputs[-1:]):
        measure(packed, Architecture.of(packed), some, [100.0])
    several, one = workspaces
    assert several.nbytes == one.nbytes


def test_float_layers_but_the_first_have_a_range_for_each_channel(tmp_path):
    path = tmp_path / "network.safetensors"
    module = save_random(path, "srresnet", 2, channels=6, blocks=1).float()
    seen: dict[str, list[np.ndarray]] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d) and not isinstance(layer, BinaryConv2d):
            seen[name] = []
            layer.register_forward_pre_hook(lambda _, inputs, name=name: seen[name].append(inputs[0][0].numpy()))
    for image in IMAGES:
        upscale(module, image)
    found = calibrate(path, IMAGES, [99.0])["float_layers"]
    assert found.keys() == seen.keys() - {"head"} == {"conv", "upsample.0.conv", "tail"}
    for name, ranges in found.items():
        low = np.min([v.min(axis=(1, 2)) for v in seen[name]], axis=0)
        high = np.max([v.max(axis=(1, 2)) for v in seen[name]], axis=0)
        np.testing.assert_allclose(ranges["low"], np.minimum(low, 0), rtol=1e-3)
        np.testing.assert_allclose(ranges["high"], np.maximum(high, 0), rtol=1e-3)


def test_signs_stand_for_the_mean_magnitude(tmp_path):
    path = tmp_path / "network.safetensors"
    module = save_random(path, "edsr", 2, channels=6, blocks=1).float()
    seen: list[np.ndarray] = []
    module.blocks[0].conv2.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].numpy().ravel()))
    for image in IMAGES:
        upscale(module, image)
    mean = np.abs(np.concatenate(seen)).mean()
    np.testing.assert_allclose(calibrate(path, IMAGES)["int1"]["blocks.0.conv2"], [-mean, mean], rtol=1e-4)


def test_the_percentile_is_kept_that_clearly_loses_least(tmp_path):
    path = tmp_path / "network.safetensors"
    save_random(path, "srresnet", 2, channels=6, blocks=2)
    packed, percentiles, images = read(path), [51.0, 100.0, 99.0, 97.0], [picture(0, 20, 33), picture(1, 20, 33)]
    x = np.ascontiguousarray(images[1].transpose(2, 0, 1), np.float32) / np.float32(255)
    exact = Engine(packed).forward(x)
    kept = calibrate(packed, images, percentiles)
    for kind in ("int8", "int6"):
        loss = {}
        for percentile in percentiles:  # ranges from the first image, losses on the second
            metadata = {"activations": calibrate(packed, images[:1], [percentile])}
            engine = Engine(replace(packed, metadata=metadata), kind)
            loss[percentile] = np.square(engine.forward(x) - exact).sum()
        best = min(loss, key=loss.get)
        best = best if loss[best] <= 0.9 * loss[100.0] else 100.0
        assert kept[kind] == calibrate(packed, images, [best])[kind]
        assert loss[51.0] > 2 * loss[best]


def test_an_input_of_zeros_has_a_range_too(tmp_path):
    module = build("edsr", 2, "binary", blocks=1, channels=4)
    with torch.no_grad():
        module.blocks[0].conv1.alpha.zero_(), module.blocks[0].conv1.bias.zero_()
    save(module, tmp_path / "network.safetensors")
    assert calibrate(tmp_path / "network.safetensors", IMAGES)["int8"]["blocks.0.conv2"] == [0.0, SMALLEST_RANGE]


def test_a_float_network_has_ranges_for_its_float_layers(tmp_path):
    path = tmp_path / "network.safetensors"
    save_random(path, "vdsr", 2, "float", layers=3, channels=4)
    ranges = calibrate(path, IMAGES, [100.0, 99.9])
    assert not ranges["int8"] and ranges["float_layers"].keys() == {"blocks.0", "tail"}
    packed = replace(read(path), metadata={"activations": ranges})
    exact, rounded = Engine(packed).upscale(IMAGES[0]), Engine(packed, float_layers="int8").upscale(IMAGES[0])
    assert 0 < np.abs(exact.astype(int) - rounded).mean() < 3


@pytest.mark.parametrize(
    ("images", "percentiles"), [([], [100.0]), (IMAGES, [50.0]), (IMAGES, [100.0, 100.1]), (IMAGES, [])]
)
def test_nothing_to_calibrate_with(tmp_path, images, percentiles):
    save_random(tmp_path / "network.safetensors", "vdsr", 2, layers=3, channels=4)
    with pytest.raises(InputError, match=r"images|percentile"):
        calibrate(tmp_path / "network.safetensors", images, percentiles)


@settings(max_examples=100)
@given(
    st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=50), st.lists(st.floats(50, 100), min_size=1, max_size=4)
)
def test_percentiles_are_those_of_numpy(values, percentiles):
    got = _upper_percentiles(np.array(values, np.float32), percentiles)
    np.testing.assert_allclose(got, np.percentile(np.array(values), percentiles), rtol=1e-6, atol=1e-6)
