"""The binarization against values computed by hand and by numpy."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from pipeline.models import build
from pipeline.models.binarize import BinaryConv2d, sign, start_from_float


def one_pixel_layer(weights: list[float], scale_rule: str) -> BinaryConv2d:
    """A 1×1 convolution from len(weights) channels to one, without bias."""
    layer = BinaryConv2d(len(weights), 1, 1, bias=False, scale_rule=scale_rule)
    layer.weight.data = torch.tensor(weights).reshape(1, -1, 1, 1)
    return layer


def test_sign_of_zero_is_plus_one_and_the_gradient_is_clipped_beyond_one():
    w = torch.tensor([-1.5, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 1.0001], requires_grad=True)
    binary = sign(w)
    binary.backward(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]))
    assert binary.tolist() == [-1, -1, -1, 1, 1, 1, 1, 1]
    assert w.grad.tolist() == [0, 2, 3, 4, 5, 6, 7, 0]


def test_gradients_of_a_learnable_scale_by_hand():
    # y = alpha * (sign(w) . x), loss = y: dy/dalpha = sign(w) . x, dy/dw = alpha * x where |w| <= 1.
    layer = one_pixel_layer([0.5, -0.25, 2.0], "learnable")
    layer.alpha.data = torch.tensor([0.3])
    x = torch.tensor([1.0, 10.0, 100.0]).reshape(1, 3, 1, 1)
    y = layer(x)
    y.sum().backward()
    assert y.item() == pytest.approx(0.3 * (1 - 10 + 100))
    assert layer.alpha.grad.item() == pytest.approx(1 - 10 + 100)
    np.testing.assert_allclose(layer.weight.grad.flatten(), [0.3, 3.0, 0.0], rtol=1e-6)


def test_gradients_of_an_analytic_scale_by_hand():
    # alpha = mean |w| = (0.5 + 0.25 + 0.75) / 3 = 0.5, which itself depends on w: dalpha/dw = sign(w) / 3.
    layer = one_pixel_layer([0.5, -0.25, 0.75], "analytic")
    x = torch.tensor([1.0, 10.0, 100.0]).reshape(1, 3, 1, 1)
    y = layer(x)
    y.sum().backward()
    signed_sum = 1 - 10 + 100
    assert y.item() == pytest.approx(0.5 * signed_sum)
    through_scale = np.array([1, -1, 1]) * signed_sum / 3
    np.testing.assert_allclose(layer.weight.grad.flatten(), 0.5 * np.array([1, 10, 100]) + through_scale, rtol=1e-6)


def test_no_scale_leaves_filters_of_plus_and_minus_one():
    layer = one_pixel_layer([0.5, -0.25], "none")
    assert layer.binary_weight().flatten().tolist() == [1, -1]
    assert "alpha" not in dict(layer.named_parameters())


def test_forward_is_the_convolution_with_scaled_signs():
    torch.manual_seed(0)
    layer = BinaryConv2d(5, 7, 3, padding=1)
    x = torch.randn(2, 5, 6, 4)
    weight = layer.weight.detach()
    expected = functional.conv2d(x, weight.sign() * weight.abs().mean((1, 2, 3), keepdim=True), layer.bias, padding=1)
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-6)


def test_scales_start_at_the_mean_magnitude_of_each_filter():
    layer = BinaryConv2d(16, 4, 3)
    np.testing.assert_allclose(layer.alpha.detach(), np.abs(layer.weight.detach().numpy()).mean((1, 2, 3)), rtol=1e-6)


@pytest.mark.parametrize("model", ["srresnet", "edsr", "vdsr"])
def test_a_binary_network_starts_from_its_float_twin(model):
    sizes = {"vdsr": {"layers": 4, "channels": 8}}.get(model, {"blocks": 2, "channels": 8})
    twin = build(model, scale=2, **sizes)
    network = build(model, scale=2, weights="binary", **sizes)
    start_from_float(network, twin.state_dict())
    state = network.state_dict()
    for name, value in twin.state_dict().items():
        assert torch.equal(state[name], value)
    binary = [layer for layer in network.modules() if isinstance(layer, BinaryConv2d)]
    assert len(binary) == {"vdsr": 2}.get(model, 4)
    for layer in binary:
        np.testing.assert_allclose(layer.alpha.detach(), layer.weight.detach().abs().mean((1, 2, 3)), rtol=1e-6)
