"""Whole networks: the engine against PyTorch in float64, before rounding."""

import numpy as np
import pytest
import torch

from pipeline.engine import Engine
from pipeline.engine.networks import DIV2K_MEAN as ENGINE_MEAN
from pipeline.models.edsr import DIV2K_MEAN
from pipeline.runs import MODELS
from tests.engine.random_networks import save_random
from tests.small import small_sizes

TOLERANCE = 1e-3 / 255  # for outputs of order 1
SMALL = {model: small_sizes(model, blocks=2, layers=4, channels=10, residual_scale=0.1) for model in MODELS}


def assert_equal_outputs(path, module, sizes, seed=0):
    engine = Engine.load(path)
    rng = np.random.default_rng(seed)
    for size in sizes:
        x = rng.random((engine.architecture.channels, *size), np.float32)
        with torch.inference_mode():
            expected = module(torch.from_numpy(x).double()[None])[0].numpy()
        got = engine.forward(x)
        assert got.dtype == np.float32 and got.shape == expected.shape
        assert np.abs(got - expected).max() <= TOLERANCE * max(1, np.abs(expected).max())


@pytest.mark.parametrize("weights", ["float", "binary"])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("model", SMALL)
def test_small_networks_of_every_kind(tmp_path, model, scale, weights):
    path = tmp_path / "network.safetensors"
    module = save_random(path, model, scale, weights, **SMALL[model])
    assert_equal_outputs(path, module, [(1, 1), (1, 7), (5, 1), (13, 22)])


@pytest.mark.parametrize("scale_rule", ["learnable", "analytic", "none"])
@pytest.mark.parametrize("scope", ["blocks", "all"])
@pytest.mark.parametrize("model", SMALL)
def test_every_binarization(tmp_path, model, scope, scale_rule):
    path = tmp_path / "network.safetensors"
    module = save_random(path, model, 2, scope=scope, scale_rule=scale_rule, **SMALL[model])
    assert_equal_outputs(path, module, [(1, 1), (6, 9)])


@pytest.mark.parametrize(
    ("model", "overrides"),
    [("srresnet", {"blocks": 2}), ("edsr", {"blocks": 2}), ("edsr", {"blocks": 1, "channels": 256}), ("vdsr", {})],
)
def test_full_width(tmp_path, model, overrides):
    path = tmp_path / "network.safetensors"
    assert_equal_outputs(path, save_random(path, model, 4, **overrides), [(11, 14)])


def test_half_precision_file(tmp_path):
    path = tmp_path / "network.safetensors"
    module = save_random(path, "srresnet", 3, float_dtype="float16", **SMALL["srresnet"])
    assert_equal_outputs(path, module, [(7, 5)])


def test_more_than_one_tile_in_each_direction(tmp_path):
    path = tmp_path / "network.safetensors"
    assert_equal_outputs(path, save_random(path, "vdsr", 2, **SMALL["vdsr"]), [(75, 301)])


def test_the_mean_is_that_of_the_model():
    np.testing.assert_array_equal(ENGINE_MEAN.ravel(), np.array(DIV2K_MEAN, np.float32))
