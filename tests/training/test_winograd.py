"""Winograd's convolution: outputs and gradients are those of float64, and only layers that it suits have it."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import config, set_num_threads
from torch import nn
from torch.nn import functional

from pipeline.models import build
from pipeline.models.binarize import BinaryConv2d
from pipeline.training import winograd as module_under_test
from pipeline.training.winograd import _Convolution, winograd
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def with_gradients(convolve, inputs, weight, bias, given_gradients):
    """The output and the gradients of what `convolve` was given."""
    leaves = [value.detach().clone().requires_grad_() for value in (inputs, weight, bias) if value is not None]
    outputs = convolve(*leaves, *[None] * (3 - len(leaves)))
    outputs.backward(given_gradients.to(outputs.dtype))
    return [outputs.detach(), *(leaf.grad for leaf in leaves)]


@settings(max_examples=25)
@given(
    images=st.integers(1, 3),
    inputs=st.sampled_from([1, 5, 64]),
    outputs=st.sampled_from([1, 7, 72]),
    height=st.integers(1, 13),
    width=st.integers(1, 13),
    bias=st.booleans(),
    channels_last=st.booleans(),
    seed=st.integers(0, 99),
)
def test_outputs_and_gradients_are_those_of_float64(images, inputs, outputs, height, width, bias, channels_last, seed):
    torch.manual_seed(seed)
    x, weight = torch.randn(images, inputs, height, width), torch.randn(outputs, inputs, 3, 3)
    if channels_last:
        x, weight = (value.contiguous(memory_format=torch.channels_last) for value in (x, weight))
    b, gradients = torch.randn(outputs) if bias else None, torch.randn(images, outputs, height, width)
    found = with_gradients(_Convolution.apply, x, weight, b, gradients)
    exact = with_gradients(
        lambda *values: functional.conv2d(*values, padding=1),
        x.double(), weight.double(), None if b is None else b.double(), gradients,
    )  # fmt: skip
    for ours, theirs in zip(found, exact, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=2e-5 * float(theirs.abs().max()) + 1e-5)


def test_threads_change_no_bit():
    torch.manual_seed(0)
    x, weight, gradients = torch.randn(3, 64, 9, 10), torch.randn(64, 64, 3, 3), torch.randn(3, 64, 9, 10)
    of_threads = []
    for threads in (1, 2):
        set_num_threads(min(threads, config.NUMBA_NUM_THREADS))
        of_threads.append(with_gradients(_Convolution.apply, x, weight, None, gradients))
    for one, two in zip(*of_threads, strict=True):
        assert one.equal(two)


def test_pytorch_keeps_its_threads_though_numba_starts_its_own():
    program = """
import torch
torch.set_num_threads(1)
from pipeline.training.winograd import winograd
with winograd(torch.nn.Conv2d(64, 64, 3, padding=1)):
    assert torch.get_num_threads() == 1
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_a_layer_that_needs_no_gradient_of_its_inputs_gives_none():
    x, weight = torch.randn(1, 64, 5, 6), torch.randn(64, 64, 3, 3, requires_grad=True)
    _Convolution.apply(x, weight, None).sum().backward()
    assert x.grad is None and weight.grad is not None


def test_only_wide_layers_of_three_by_three_have_it_and_only_meanwhile():
    network = build("edsr", 2, "binary", blocks=1, channels=64)
    extra = [
        nn.Conv2d(64, 64, 5, padding=2), nn.Conv2d(64, 64, 3, padding=1, stride=2), nn.Conv2d(64, 64, 3),
        nn.Conv2d(64, 64, 3, padding=1, groups=2), nn.Conv2d(64, 32, 3, padding=1),
        nn.Conv2d(64, 64, 3, padding=1).double(),
    ]  # fmt: skip
    network.extra = nn.ModuleList(extra)
    before = network.state_dict().keys()

    def hooked():
        return {name for name, layer in network.named_modules() if "_conv_forward" in vars(layer)}

    with winograd(network):
        assert hooked() == {"blocks.0.conv1", "blocks.0.conv2", "conv", "upsample.0.conv"}
        assert network.state_dict().keys() == before
    assert hooked() == set()
    with pytest.raises(ZeroDivisionError), winograd(network):
        raise ZeroDivisionError
    assert hooked() == set()
    with torch.autocast("cpu", torch.bfloat16), winograd(network):
        assert hooked() == set()
    torch.set_num_threads(3)
    with winograd(network):
        assert hooked() == set()


@pytest.mark.parametrize("model", ["srresnet", "edsr", "vdsr"])
@pytest.mark.parametrize("weights", ["float", "binary"])
def test_a_network_trains_alike_with_it_and_without(model, weights, monkeypatch):
    torch.manual_seed(0)
    sizes = {"layers": 4} if model == "vdsr" else {"blocks": 1}
    network = build(model, 2, weights, channels=64, **sizes)
    x = torch.rand(2, 1 if model == "vdsr" else 3, 10, 11)

    def step():
        network.zero_grad()
        with winograd(network):
            outputs = network(x)
        outputs.square().mean().backward()
        return outputs.detach(), {name: value.grad.clone() for name, value in network.named_parameters()}

    outputs, gradients = step()
    monkeypatch.setattr(module_under_test, "MOST_THREADS", 0)
    plain_outputs, plain_gradients = step()
    assert not outputs.equal(plain_outputs)  # or it was not used
    torch.testing.assert_close(outputs, plain_outputs, rtol=0, atol=1e-4)
    for name, value in plain_gradients.items():
        torch.testing.assert_close(gradients[name], value, rtol=1e-3, atol=1e-3 * float(value.abs().max()) + 1e-6)


def test_binary_filters_go_through_it():
    layer = BinaryConv2d(64, 64, 3, padding=1)
    x = torch.randn(1, 64, 8, 8)
    with winograd(layer):
        found = layer(x)
    exact = functional.conv2d(x, layer.binary_weight(), layer.bias, padding=1)
    assert not found.equal(exact)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-4)
