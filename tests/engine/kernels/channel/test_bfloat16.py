"""Float layers in bfloat16 against the NumPy definitions; sums are float32."""

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.engine import Engine
from pipeline.engine.kernels import instructions
from pipeline.engine.kernels.channel import compiled as kernels
from pipeline.engine.kernels.channel.compiled import processor
from pipeline.engine.kernels.channel.convolutions import Convolution
from pipeline.engine.output_formats import OutputFormat
from pipeline.engine.quantization import Bfloat16, bfloat16
from pipeline.engine.workspace import Workspace
from pipeline.errors import InputError
from pipeline.packed import read
from tests.engine.kernels.test_kernels import (
    KERNELS,
    OUTPUTS,
    PLANES,
    SEEDS,
    SIZES,
    assert_within_rounding,
    expected_of,
    random_layer,
    sums_only,
)
from tests.engine.random_networks import save_random
from tests.engine.reference import convolution, to_bfloat16

ROUNDING = Bfloat16()

needs_bfloat16 = pytest.mark.skipif(not kernels.bfloat16_supported(), reason="a processor without AVX-512 BF16")


methods = pytest.mark.parametrize(
    "method",
    [
        "tables",  # without tile registers
        pytest.param("auto", marks=pytest.mark.skipif(not kernels.tiles_supported(), reason="a processor without AMX")),
    ],
)


def run(method, layer, rounding, x, output_format=PLANES, workspace=None, **arguments):
    workspace = workspace or Workspace()
    return Convolution(layer, rounding, output_format, workspace, method)(x, shuffle=layer.shuffle, **arguments)


@settings(max_examples=60)
@given(st.lists(st.floats(-(2.0**120), 2.0**120, width=32), min_size=1, max_size=9))
@example([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 0.0, -0.0])  # halves go to the even neighbour
def test_the_bits_are_those_of_the_nearest(values):
    x = np.array(values, np.float32)
    x[np.abs(x) < np.finfo(np.float32).tiny] = 0  # frexp's mantissa has more bits than a subnormal number
    bits = bfloat16(x).view(np.uint16).astype(np.uint32) << 16
    np.testing.assert_array_equal(bits.view(np.float32), to_bfloat16(x))


@needs_bfloat16
@methods
@settings(max_examples=60)
@given(SIZES, st.integers(1, 70), OUTPUTS, KERNELS, SEEDS)
@example((17, 31), 64, 64, 3, 0)
@example((17, 31), 33, 3, 3, 0)
def test_sums(method, size, inputs, outputs, k, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((inputs, *size)).astype(np.float32)
    layer = random_layer(rng, outputs, inputs, k, False)
    layer = type(layer)(layer.filters, sums_only(outputs))
    expected = convolution(to_bfloat16(x), to_bfloat16(layer.filters))
    assert_within_rounding(run(method, layer, ROUNDING, x), layer, x, expected)


@needs_bfloat16
@methods
@settings(max_examples=25)
@given(SIZES, st.sampled_from([1, 2, 3]), st.sampled_from([2, 20]), st.booleans(), SEEDS)
def test_epilogue_shuffle_and_residual(method, size, shuffle, channels, with_residual, seed):
    rng = np.random.default_rng(seed)
    layer = random_layer(rng, channels * shuffle**2, 5, 3, False, shuffle=shuffle)
    x = rng.standard_normal((5, *size)).astype(np.float32)
    shape = (channels, size[0] * shuffle, size[1] * shuffle)
    residual = rng.standard_normal(shape).astype(np.float32) if with_residual else None
    more = {"residual": residual, "residual_scale": 0.1 if with_residual else 1.0}
    expected = expected_of(layer, ROUNDING, x, **more)
    np.testing.assert_allclose(run(method, layer, ROUNDING, x, **more), expected, rtol=1e-5, atol=1e-4)


@needs_bfloat16
@methods
@settings(max_examples=25)
@given(SIZES, st.sampled_from([16, 31, 70]), KERNELS, st.sampled_from([1, 2]), st.booleans(), st.booleans(), SEEDS)
def test_readers_get_the_same_from_another_layer_as_from_planes(
    method, size, outputs, k, shuffle, binary, as_float, seed
):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((5, *size)).astype(np.float32)
    first = random_layer(rng, outputs * shuffle**2, 5, 3, binary, shuffle=shuffle)
    reader, wide_reader = (random_layer(rng, count, outputs, k, False) for count in (3, 40))
    residual = rng.standard_normal((outputs, size[0] * shuffle, size[1] * shuffle)).astype(np.float32)
    planes = run(method, first, None, x, residual=residual)
    output_format = OutputFormat(halo=0 if as_float else None, rounding=ROUNDING, levels_halo=k // 2)
    workspace = Workspace()
    passed = run(method, first, None, x, output_format, workspace, residual=residual)
    for layer in (reader, wide_reader):
        got = run(method, layer, ROUNDING, passed, workspace=workspace)
        np.testing.assert_array_equal(got, run(method, layer, ROUNDING, planes))


@needs_bfloat16
@methods
@pytest.mark.parametrize("outputs", [3, 40])
def test_layers_of_other_channels_leave_nothing_behind(method, outputs):
    rng, workspace = np.random.default_rng(0), Workspace()
    for inputs in (18, 17, 33):
        x = rng.standard_normal((inputs, 7, 11)).astype(np.float32)
        layer = random_layer(rng, outputs, inputs, 3, False)
        np.testing.assert_array_equal(
            run(method, layer, ROUNDING, x, workspace=workspace), run(method, layer, ROUNDING, x)
        )


@needs_bfloat16
def test_the_first_layer_stays_in_float32(tmp_path):
    save_random(tmp_path / "network.safetensors", "edsr", 2, "float", blocks=1, channels=9)
    packed = read(tmp_path / "network.safetensors")
    convolutions = Engine(packed, float_layers="bfloat16").ops.convolutions
    rounded = {name for name, convolution in convolutions.items() if convolution.rounding is not None}
    assert rounded == convolutions.keys() - {"head"}


@needs_bfloat16
@pytest.mark.parametrize("weights", ["float", "binary"])
def test_a_network_is_near_float32(tmp_path, weights):
    save_random(tmp_path / "network.safetensors", "srresnet", 2, weights, blocks=1, channels=16)
    packed = read(tmp_path / "network.safetensors")
    x = np.random.default_rng(0).random((3, 20, 30), np.float32)
    exact = Engine(packed, "float32", float_layers="float32").forward(x)
    got = Engine(packed, "float32", float_layers="bfloat16").forward(x)
    error = np.abs(got - exact).max() / np.abs(exact).max()
    assert 0 < error < 2**-6


def test_other_processors_refuse_it(tmp_path, monkeypatch):
    save_random(tmp_path / "network.safetensors", "edsr", 2, blocks=1, channels=9)
    monkeypatch.setattr(processor, "instructions", lambda: instructions.instructions() - {"avx512bf16"})
    message = "float_layers: bfloat16 needs a processor with AVX-512 BF16; choose float32 or int8"
    with pytest.raises(InputError, match=re.escape(message)):
        Engine(read(tmp_path / "network.safetensors"), float_layers="bfloat16")
