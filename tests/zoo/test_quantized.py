"""Float networks quantized to int8 for OpenVINO: images of any size, near to PyTorch."""

from hashlib import sha256

import numpy as np
import pytest

from pipeline.data.registry import dataset
from pipeline.inference import upscale
from pipeline.metrics import psnr
from pipeline.models import build
from pipeline.packing import save
from pipeline.params import load_params
from pipeline.zoo import scores
from pipeline.zoo.catalogue import PublishedNetwork
from pipeline.zoo.quantized import openvino_int8, quantize
from pipeline.zoo.scores import published_backends
from tests.conftest import ROOT
from tests.small import picture, write_sets

pytest.importorskip("openvino", reason="the extra `peers` is not installed")


@pytest.mark.parametrize(
    ("model", "overrides"), [("edsr", {"blocks": 1, "channels": 8}), ("vdsr", {"layers": 3, "channels": 8})]
)
def test_images_of_any_size_come_out_near_to_pytorchs(tmp_path, model, overrides):
    module = build(model, scale=2, weights="float", **overrides)
    path = quantize(module, [picture(seed, 24, 24) for seed in range(4)], tmp_path)
    run = openvino_int8(path, model, scale=2, threads=1)
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


def test_as_many_crops_set_the_ranges_as_for_the_engine():
    params = load_params(ROOT / "zoo/cpu.yaml")
    crops = len(dataset(params.data.train).files)  # one of each image
    assert (crops, scores.CALIBRATION_CROP) == (params.export.calibration_images, params.export.calibration_crop)


def test_a_network_is_quantized_once_for_all_test_sets(tmp_path, monkeypatch):
    made = []

    def quantize(module, crops, folder):
        made.append(len(crops))
        (folder / "openvino-int8.xml").touch()

    monkeypatch.chdir(tmp_path)
    write_sets(tmp_path, "embedded-train")
    save(build("edsr", scale=2, weights="float", blocks=1, channels=8), tmp_path / "edsr-x2-float.safetensors")
    digest = sha256((tmp_path / "edsr-x2-float.safetensors").read_bytes()).hexdigest()
    training = {"training_set": "embedded-train"}
    network = PublishedNetwork("", "edsr-x2-float.safetensors", digest, 0, "edsr", 2, "float", "", training)
    monkeypatch.setattr(scores, "quantize", quantize)
    first, again = (scores._quantized(network, tmp_path) for _ in range(2))
    assert first == again and first.is_file() and made == [3]  # pictures
