"""Float networks quantized to int8 for OpenVINO: images of any size, near to PyTorch."""

import numpy as np
import pytest

from pipeline.inference import upscale
from pipeline.metrics import psnr
from pipeline.models import build
from pipeline.zoo.quantized import openvino_int8
from pipeline.zoo.scores import published_backends
from tests.conftest import ROOT
from tests.small import picture

pytest.importorskip("openvino", reason="the extra `peers` is not installed")


@pytest.mark.parametrize(
    ("model", "overrides"), [("edsr", {"blocks": 1, "channels": 8}), ("vdsr", {"layers": 3, "channels": 8})]
)
def test_images_of_any_size_come_out_near_to_pytorchs(model, overrides):
    module = build(model, scale=2, weights="float", **overrides)
    run = openvino_int8(module, [picture(seed, 24, 24) for seed in range(4)], threads=1)
    for height, width in ((24, 24), (13, 31)):
        image = picture(5, height, width)
        expected, got = upscale(module, image), run(image)
        assert got.dtype == np.uint8 and got.shape == expected.shape
        assert 30 < psnr(got, expected) < 90  # rounded, and not by much


def test_ranges_are_chosen_on_training_images_and_never_on_test_images():
    from pipeline.zoo.catalogue import read_index
    from pipeline.zoo.publish import TEST_SETS

    floats = [network for network in read_index(ROOT / "zoo") if "openvino_int8" in published_backends(network, "Set5")]
    assert floats and all(network.weights == "float" for network in floats)
    assert {network.training["training_set"] for network in floats}.isdisjoint(TEST_SETS)
