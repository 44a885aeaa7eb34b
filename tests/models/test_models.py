"""The networks against published parameter counts, and counts worked out by hand."""

import pytest
import torch

from pipeline.models import MODELS, SCALES, build
from pipeline.models.binarize import BinaryConv2d
from pipeline.networks import NETWORKS
from tests.small import small_sizes

SMALL = {model: small_sizes(model, channels=8) for model in MODELS}


def parameters(module):
    return sum(value.numel() for value in module.parameters())


@pytest.mark.parametrize(("scale", "millions"), [(2, 1.37), (3, 1.55), (4, 1.52)])
def test_edsr_baseline_has_the_published_parameters(scale, millions):
    assert parameters(build("edsr", scale)) / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize(("scale", "millions"), [(2, 40.7), (3, 43.7), (4, 43.1)])
def test_edsr_has_the_published_parameters(scale, millions):
    with torch.device("meta"):
        module = build("edsr", scale, channels=256, blocks=32, residual_scale=0.1)
    assert parameters(module) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize("model", MODELS)
def test_the_parameters_are_those_of_the_table(model):
    assert parameters(build(model, 2)) == min(parameters(build(model, s)) for s in SCALES) == NETWORKS[model].parameters


def test_vdsr_has_the_published_parameters():
    assert parameters(build("vdsr", 2)) == 665_921


@pytest.mark.parametrize(("scale", "upsampler"), [(2, [256]), (3, [576]), (4, [256, 256])])
def test_srresnet_has_the_parameters_of_its_layers(scale, upsampler):
    block = 2 * (64 * 64 * 9 + 2 * 64) + 1  # two convolutions, two batch norms, one PReLU slope
    head = 3 * 64 * 81 + 64 + 1
    after_blocks = 64 * 64 * 9 + 2 * 64
    up = sum(64 * outputs * 9 + outputs + 1 for outputs in upsampler)
    tail = 64 * 3 * 81 + 3
    assert parameters(build("srresnet", scale)) == head + 16 * block + after_blocks + up + tail


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("weights", ["float", "binary"])
def test_output_size(model, scale, weights):
    module = build(model, scale, weights, **SMALL[model]).eval()
    channels, factor = (1, 1) if NETWORKS[model].on_luma else (3, scale)
    assert module(torch.rand(2, channels, 5, 7)).shape == (2, channels, 5 * factor, 7 * factor)


@pytest.mark.parametrize(("model", "blocks", "all_layers"), [("srresnet", 32, 37), ("edsr", 32, 37), ("vdsr", 18, 20)])
def test_which_convolutions_are_binary(model, blocks, all_layers):
    def binary(scope):
        module = build(model, 4, "binary", scope=scope)
        return sum(isinstance(layer, BinaryConv2d) for layer in module.modules())

    assert (binary("blocks"), binary("all")) == (blocks, all_layers)
    assert not any(isinstance(layer, BinaryConv2d) for layer in build(model, 4).modules())


@pytest.mark.parametrize("model", MODELS)
def test_a_shift_of_the_input_shifts_the_output(model):
    """Moving the image by a pixel moves the output by `scale` pixels, away from the edges."""
    torch.manual_seed(0)
    scale = 1 if NETWORKS[model].on_luma else 2
    module = build(model, 2, **SMALL[model]).eval()
    image = torch.rand(1, NETWORKS[model].channels, 28, 28)
    moved = torch.roll(image, (1, 1), (2, 3))
    edge = 12 * scale
    inner = module(image)[..., edge:-edge, edge:-edge]
    expected = torch.roll(module(moved), (-scale, -scale), (2, 3))[..., edge:-edge, edge:-edge]
    torch.testing.assert_close(inner, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [("srgan", 4, "float"), ("edsr", 8, "float"), ("edsr", 4, "ternary")],
    ids=lambda a: "-".join(map(str, a)),
)
def test_unknown_arguments_are_named(arguments):
    unknown = next(str(a) for a in arguments if a not in ("edsr", 4, "float"))
    with pytest.raises(ValueError, match=unknown):
        build(*arguments)


def test_batch_normalization_undoes_the_scale_of_binary_filters():
    module = build("srresnet", 4, "binary")
    image = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        before = module(image)
        for layer in module.modules():
            if isinstance(layer, BinaryConv2d):
                layer.alpha *= 10
        torch.testing.assert_close(module(image), before, rtol=0, atol=0.02 * float(before.std()))


def test_edsr_cannot_do_without_scales():
    scaled, unscaled = (build("edsr", 4, "binary", scale_rule=rule) for rule in ("learnable", "none"))
    image = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        assert scaled(image).isfinite().all()
        assert not unscaled(image).isfinite().all()
