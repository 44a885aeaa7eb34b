"""The NumPy definitions against PyTorch, in float64."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.engine.epilogue import fold
from pipeline.engine.networks import RELU
from pipeline.packed import PackedNetwork
from tests.engine.reference import convolution, finish


@pytest.mark.parametrize("k", [1, 3, 9])
def test_convolution(k):
    rng = np.random.default_rng(0)
    x, filters = rng.standard_normal((5, 7, 4)), rng.standard_normal((6, 5, k, k))
    expected = functional.conv2d(torch.from_numpy(x)[None], torch.from_numpy(filters), padding=k // 2)[0]
    np.testing.assert_allclose(convolution(x, filters), expected, atol=1e-12)
    signs = np.where(filters > 0, 1.0, -1.0)
    np.testing.assert_allclose(convolution(x, filters > 0), convolution(x, signs), atol=1e-12)
    integers = rng.integers(-127, 128, x.shape)
    assert convolution(integers, filters > 0).dtype == np.int64
    np.testing.assert_array_equal(convolution(integers, filters > 0), convolution(integers * 1.0, signs))


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("activation", [None, RELU, "slope"])
def test_epilogue(activation, normalized):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(8).eval()
    modules: dict[str | None, nn.Module] = {None: nn.Identity(), RELU: nn.ReLU(), "slope": nn.PReLU()}
    for module in (norm, *modules.values()):
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.1 if "var" in name else torch.randn_like(value))
    sums, alpha, bias, residual = torch.randn(8, 3, 5), torch.randn(8), torch.randn(8), torch.randn(2, 6, 10)
    tensors = {"conv.alpha": alpha}
    tensors |= (
        {f"norm.{name}": value for name, value in norm.state_dict().items()} if normalized else {"conv.bias": bias}
    )
    if isinstance(modules[activation], nn.PReLU):
        tensors[f"{activation}.weight"] = modules[activation].weight.detach()
    packed = PackedNetwork(
        {}, {}, {"conv": np.ones((8, 1, 1, 1), bool)}, {name: value.numpy() for name, value in tensors.items()}
    )

    with torch.inference_mode():
        y = (alpha[:, None, None] * sums)[None]
        y = norm(y) if normalized else y + bias[:, None, None]
        expected = residual + 0.1 * modules[activation](nn.PixelShuffle(2)(y))[0]
    got = finish(
        sums.numpy(), fold(packed, "conv", "norm" if normalized else None, activation), 2, residual.numpy(), 0.1
    )
    np.testing.assert_allclose(got, expected, atol=2e-6)


@pytest.mark.parametrize(
    ("norm", "tensors", "said"),
    [
        (None, {}, "conv.bias"),
        (None, {"conv.bias": np.ones(3)}, r"conv\.bias: shape \(3,\)"),
        (None, {"conv.bias": np.ones(2), "slope.weight": np.ones(2)}, r"slope\.weight: shape \(2,\)"),
        ("norm", {"conv.bias": np.ones(2), "norm.weight": np.ones(2), "norm.running_var": np.ones(2)}, "norm takes"),
    ],
)
def test_what_does_not_fit_is_named(norm, tensors, said):
    packed = PackedNetwork({}, {}, {}, {"conv.weight": np.ones((2, 1, 1, 1)), **tensors})
    with pytest.raises((KeyError, ValueError), match=said):
        fold(packed, "conv", norm, "slope" if "slope.weight" in tensors else None)
