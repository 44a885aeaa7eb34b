"""Activation ranges, against those that PyTorch's hooks see."""

import numpy as np
import pytest
import torch

from pipeline.binarize import BinaryConv2d
from pipeline.calibration import SMALLEST_RANGE, calibrate
from pipeline.errors import InputError
from pipeline.inference import upscale
from pipeline.models import build
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
    seen: dict[str, float] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, BinaryConv2d):

            def hook(_, inputs, name=name):
                found = np.percentile(np.abs(inputs[0].numpy()), percentile)
                seen[name] = max(seen.get(name, 0.0), float(found))

            layer.register_forward_pre_hook(hook)
    for image in IMAGES:
        upscale(module, image)
    ranges = calibrate(path, IMAGES, percentile)
    assert ranges.keys() == seen.keys()
    np.testing.assert_allclose([ranges[name] for name in seen], list(seen.values()), rtol=1e-4)
    assert calibrate(read(path), IMAGES, percentile) == ranges


def test_an_input_of_zeros_has_a_range_too(tmp_path):
    module = build("edsr", 2, "binary", blocks=1, channels=4)
    with torch.no_grad():
        module.head.weight.zero_(), module.head.bias.zero_()
    save(module, tmp_path / "network.safetensors")
    assert calibrate(tmp_path / "network.safetensors", IMAGES)["blocks.0.conv1"] == SMALLEST_RANGE


def test_a_float_network_has_no_ranges(tmp_path):
    save_random(tmp_path / "network.safetensors", "vdsr", 2, "float", layers=3, channels=4)
    assert calibrate(tmp_path / "network.safetensors", IMAGES) == {}


@pytest.mark.parametrize(("images", "percentile"), [([], 100.0), (IMAGES, 0.0), (IMAGES, 100.1)])
def test_nothing_to_calibrate_with(tmp_path, images, percentile):
    save_random(tmp_path / "network.safetensors", "vdsr", 2, layers=3, channels=4)
    with pytest.raises(InputError, match=r"images|percentile"):
        calibrate(tmp_path / "network.safetensors", images, percentile)
