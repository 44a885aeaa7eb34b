"""Every kernel against the NumPy definitions, on all kinds of processor that the engine knows and this one can be."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.engine.epilogue import Epilogue
from pipeline.engine.kernels.channel import compiled as channel_kernels
from pipeline.engine.kernels.channel import convolutions as channel_convolutions
from pipeline.engine.kernels.pixel import compiled as pixel_kernels
from pipeline.engine.kernels.pixel import convolutions as pixel_convolutions
from pipeline.engine.layers import Layer
from pipeline.engine.output_formats import OutputFormat
from pipeline.engine.quantization import Quantization, quantize
from pipeline.engine.workspace import Workspace
from tests.engine.reference import ReferenceOps, convolution

KERNELS = st.sampled_from([1, 3, 5, 9])
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40)) | st.sampled_from(
    [(1, 1), (1, 300), (300, 1), (2, 7), (17, 97)]
)
OUTPUTS = st.integers(1, 9) | st.sampled_from([16, 31, 64, 70, 130])
PLANES = OutputFormat(planes=True)

with_tables = SimpleNamespace(Convolution=partial(channel_convolutions.Convolution, method="tables"))
with_tiles = channel_convolutions

every = pytest.mark.parametrize(
    "engine",
    [
        pytest.param(pixel_convolutions, id="pixels"),
        pytest.param(
            with_tables,
            id="channels",
            marks=pytest.mark.skipif(
                not channel_kernels.supported(), reason="a processor without AVX-512 VBMI and VNNI"
            ),
        ),
        pytest.param(
            with_tiles,
            id="tiles",
            marks=pytest.mark.skipif(not channel_kernels.tiles_supported(), reason="a processor without AMX"),
        ),
    ],
)
kinds = pytest.mark.parametrize(
    ("binary", "bits"), [(False, None), (False, 8), (True, None), (True, 8), (True, 6)], ids=str
)


def sums_only(outputs):
    """An epilogue that leaves the sums as they are."""
    return Epilogue(np.ones(outputs, np.float32), np.zeros(outputs, np.float32), np.ones(outputs, np.float32))


def random_epilogue(rng, outputs):
    return Epilogue(*rng.standard_normal((3, outputs)).astype(np.float32))


def random_layer(rng, outputs, inputs, k, binary, positive=0.5, **more):
    filters = rng.standard_normal((outputs, inputs, k, k)).astype(np.float32)
    filters = rng.random(filters.shape) < positive if binary else filters
    return Layer(filters, random_epilogue(rng, outputs), **more)


def run(engine, layer, quantization, x, output_format=PLANES, **then):
    return engine.Convolution(layer, quantization, output_format, Workspace())(x, shuffle=layer.shuffle, **then)


def expected_of(layer, quantization, x, **then):
    ops = ReferenceOps({"": layer}, {} if quantization is None else {"": quantization})
    return ops.conv("", x, shuffle=layer.shuffle, **then)


def assert_within_rounding(got, layer, x, expected):
    """Float32 sums may be off by a few roundings of the largest sum there could be."""
    filters = np.ones(layer.filters.shape) if layer.binary else np.abs(layer.filters)
    magnitude = convolution(np.abs(x).astype(np.float64), filters)
    assert (np.abs(got - expected) <= 2e-6 * magnitude + 1e-30).all()


@every
@pytest.mark.parametrize("binary", [False, True])
@settings(max_examples=60)
@given(SIZES, st.integers(1, 70), OUTPUTS, KERNELS, st.sampled_from([0.0, 0.5, 1.0]), SEEDS)
@example((17, 31), 64, 64, 3, 0.5, 0)
def test_float32_sums(engine, binary, size, inputs, outputs, k, positive, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((inputs, *size)).astype(np.float32)
    layer = Layer(random_layer(rng, outputs, inputs, k, binary, positive).filters, sums_only(outputs))
    got = run(engine, layer, None, x)
    assert_within_rounding(got, layer, x, convolution(x, layer.filters))


@every
@pytest.mark.parametrize("bits", [8, 6])
@settings(max_examples=60)
@given(SIZES, st.integers(1, 70), OUTPUTS, KERNELS, st.sampled_from([0.0, 0.5, 1.0]), st.floats(-2, 0.5), SEEDS)
@example((17, 31), 64, 64, 3, 0.5, -1.3, 0)
@example((17, 31), 64, 64, 3, 0.5, 0.0, 0)
def test_integer_sums_are_exact(engine, bits, size, inputs, outputs, k, positive, low, seed):
    rng = np.random.default_rng(seed)
    x = (1.5 * rng.standard_normal((inputs, *size))).astype(np.float32)  # some of it saturates
    filters = rng.random((outputs, inputs, k, k)) < positive
    quantization = Quantization.of(low, 1.7, bits)
    unscaled = Quantization(np.float32(1), quantization.lowest, quantization.highest)
    levels = quantize(x, quantization)
    got = run(engine, Layer(filters, sums_only(outputs)), unscaled, levels.astype(np.float32))
    np.testing.assert_array_equal(got, convolution(levels, filters))


@every
@settings(max_examples=60)
@given(SIZES, st.integers(1, 70), OUTPUTS, KERNELS, st.integers(-255, 0), SEEDS)
def test_integer_sums_of_float_filters_are_exact(engine, size, inputs, outputs, k, lowest, seed):
    rng = np.random.default_rng(seed)
    filters = rng.integers(-127, 128, (outputs, inputs, k, k))
    filters[:, 0, 0, 0] = 127  # so that rounding to int8 leaves them as they are
    levels = rng.integers(lowest, lowest + 256, (inputs, *size))
    sums = convolution(levels, filters)
    layer, unscaled = (
        Layer(filters.astype(np.float32), sums_only(outputs)),
        Quantization(np.float32(1), lowest, lowest + 255),
    )
    got = run(engine, layer, unscaled, levels.astype(np.float32))
    np.testing.assert_array_equal(got, sums.astype(np.float32))


@every
@settings(max_examples=40)
@given(SIZES, st.integers(1, 70), OUTPUTS, KERNELS, st.sampled_from([1, 2]), st.booleans(), SEEDS)
def test_steps_of_each_channel(engine, size, inputs, outputs, k, shuffle, signed, seed):
    """Rounded by the layer itself, and on the way from another layer."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((3, *size)).astype(np.float32)
    first = random_layer(rng, inputs * shuffle**2, 3, 1, False, shuffle=shuffle)
    layer = random_layer(rng, outputs, inputs, k, False)
    high, low = np.exp(rng.standard_normal((2, inputs))).astype(np.float32)
    quantization = Quantization.of_channels(-low if signed else np.zeros_like(low), high)
    planes = run(engine, first, None, x)
    expected = expected_of(layer, quantization, planes)
    np.testing.assert_allclose(run(engine, layer, quantization, planes), expected, rtol=1e-4, atol=1e-3)
    if inputs > 4:  # few outputs go by another kernel, whose rounding may fall to the other side of a half
        workspace = Workspace()
        output_format = OutputFormat(rounding=quantization, levels_halo=k // 2)
        passed = engine.Convolution(first, None, output_format, workspace)(x, shuffle=shuffle)
        got = engine.Convolution(layer, quantization, PLANES, workspace)(passed)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)


@every
@pytest.mark.parametrize("bits", [8, 6])
@pytest.mark.parametrize("k", [1, 3, 9])
@pytest.mark.parametrize("lowest_part", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("activation", "positive"), [(1, True), (1, False), (-1, True), (-1, False)])
def test_sums_do_not_overflow_at_their_largest(engine, bits, k, lowest_part, activation, positive):
    span = 2**bits - 1
    lowest = -round(span * lowest_part)
    quantization = Quantization(np.float32(1), lowest, lowest + span)
    x = np.full((256, 5, 11), 1e9 * activation, np.float32)  # saturates
    filters = np.full((2, 256, k, k), positive)
    got = run(engine, Layer(filters, sums_only(2)), quantization, x)
    expected = convolution(quantize(x, quantization), filters)
    np.testing.assert_array_equal(got, expected)
    if k == 9 and bits == 8 and lowest + span * (activation > 0):
        assert abs(got).max() > 32767  # else the test would prove nothing


def test_the_bounds_on_int16_sums_are_tight():
    for largest, safe in ((4 * 255, pixel_kernels.SAFE_LOOK_UPS), (4 * 128 + 255, channel_kernels.SAFE_LOOK_UPS)):
        assert largest * safe <= 32767 < largest * (safe + 1)


@every
@kinds
@settings(max_examples=25)
@given(SIZES, st.sampled_from([1, 2, 3]), st.sampled_from([2, 20]), st.booleans(), SEEDS)
def test_epilogue_shuffle_and_residual(engine, binary, bits, size, shuffle, channels, with_residual, seed):
    rng = np.random.default_rng(seed)
    layer = random_layer(rng, channels * shuffle**2, 5, 3, binary, shuffle=shuffle)
    x = rng.standard_normal((5, *size)).astype(np.float32)
    shape = (channels, size[0] * shuffle, size[1] * shuffle)
    residual = rng.standard_normal(shape).astype(np.float32) if with_residual else None
    then = {"residual": residual, "residual_scale": 0.1 if with_residual else 1.0}
    quantization = None if bits is None else Quantization.of(-2.0, 1.5, bits)
    got = run(engine, layer, quantization, x, **then)
    assert got.shape == shape
    np.testing.assert_allclose(got, expected_of(layer, quantization, x, **then), rtol=1e-5, atol=1e-4)


@every
def test_rounding_is_half_to_even_and_saturates(engine):
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.5, 128.0, -1e30, 1e30], np.float32)
    quantization, expected = Quantization(np.float32(1), -127, 127), [0, 2, 2, 0, -2, 126, 127, 127, -127, 127]
    assert quantize(x, quantization).tolist() == expected
    layer = Layer(np.ones((1, 1, 1, 1), bool), sums_only(1))
    assert run(engine, layer, quantization, x.reshape(1, 2, 5)).ravel().tolist() == expected
    # The same on the way from another layer.
    first = engine.Convolution(Layer(np.ones((1, 1, 1, 1), np.float32), sums_only(1)), None,
                               OutputFormat(rounding=quantization), Workspace())  # fmt: skip
    last = engine.Convolution(layer, quantization, PLANES, Workspace())
    assert last(first(x.reshape(1, 2, 5))).ravel().tolist() == expected


@every
@kinds
@settings(max_examples=25)
@given(SIZES, st.sampled_from([5, 16, 31, 70]), KERNELS, KERNELS, st.sampled_from([1, 2]), st.booleans(), SEEDS)
def test_readers_find_what_they_want(engine, binary, bits, size, outputs, k, other, shuffle, as_float, seed):
    """One layer's output read by an integer layer, and by a float layer and an addition too: as from its planes."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((5, *size)).astype(np.float32)
    first = random_layer(rng, outputs * shuffle**2, 5, 3, binary, shuffle=shuffle)
    reader, float_reader = (random_layer(rng, 3, outputs, n, b) for n, b in ((k, True), (other, False)))
    quantization = None if bits is None else Quantization.of(-2.0, 1.5, bits)
    rounding = Quantization.of(-1.0, 3.0, 6)
    residual = rng.standard_normal((outputs, size[0] * shuffle, size[1] * shuffle)).astype(np.float32)
    workspace = Workspace()
    output_format = OutputFormat(halo=other // 2 if as_float else None, rounding=rounding, levels_halo=k // 2)
    planes = run(engine, first, quantization, x, residual=residual)
    passed = engine.Convolution(first, quantization, output_format, workspace)(x, shuffle=shuffle, residual=residual)
    got = engine.Convolution(reader, rounding, PLANES, workspace)(passed)
    np.testing.assert_array_equal(got, run(engine, reader, rounding, planes))
    if as_float:
        then = engine.Convolution(float_reader, None, PLANES, workspace)(passed)
        np.testing.assert_array_equal(then, run(engine, float_reader, None, planes))
        identity = Layer(np.eye(outputs, dtype=np.float32)[:, :, None, None], sums_only(outputs))
        added = engine.Convolution(identity, None, PLANES, workspace)(planes, residual=passed)
        np.testing.assert_allclose(added, 2 * planes, rtol=1e-6)


@every
@pytest.mark.parametrize(("bits", "other_bits", "k"), [(8, 8, 3), (8, 6, 3), (8, 8, 5), (8, 1, 3)])
def test_every_reader_rounds_in_its_own_range(engine, bits, other_bits, k):
    """One layer's output read by two binary layers, of other ranges or other sizes: as each from its planes."""
    rng, workspace = np.random.default_rng(0), Workspace()
    x = rng.standard_normal((5, 9, 11)).astype(np.float32)
    first = random_layer(rng, 16, 5, 3, False)
    planes = run(engine, first, None, x)
    roundings = Quantization.of(-1.0, 3.0, bits), Quantization.of(-4.0, 2.5, other_bits)
    output_format = OutputFormat(halo=k // 2, rounding=roundings[0], levels_halo=1)
    passed = engine.Convolution(first, None, output_format, workspace)(x)
    for rounding, size in ((roundings[0], 3), (roundings[1], k), (roundings[0], k)):
        reader = random_layer(rng, 7, 16, size, True)
        got = engine.Convolution(reader, rounding, PLANES, workspace)(passed)
        np.testing.assert_array_equal(got, run(engine, reader, rounding, planes))


@every
@kinds
def test_layers_of_other_channels_do_not_leave_theirs_behind(engine, binary, bits):
    """Channels are filled up to whole groups: what lay there before must not matter."""
    rng, workspace = np.random.default_rng(0), Workspace()
    quantization = None if bits is None else Quantization.of(-2.0, 1.5, bits)
    for inputs in (16, 9, 12, 10):
        x = rng.standard_normal((inputs, 7, 11)).astype(np.float32)
        layer = random_layer(rng, 4, inputs, 3, binary)
        shared = engine.Convolution(layer, quantization, PLANES, workspace)
        np.testing.assert_array_equal(shared(x), run(engine, layer, quantization, x))


@every
@settings(max_examples=60)
@given(SIZES, st.integers(1, 140), OUTPUTS, KERNELS, st.sampled_from([1, 1, 6, 8]), st.floats(-2, 0.5), SEEDS)
@example((17, 31), 64, 64, 3, 1, -1.3, 0)
@example((17, 31), 64, 64, 3, 8, -1.3, 0)
def test_counting_bits_is_exact(engine, size, inputs, outputs, k, bits, low, seed):
    """Signs and bit planes; beside the image there are zeros, not minus ones. Lanes of pixels have tables alone."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((inputs, *size)).astype(np.float32)
    quantization = Quantization.of(low, 1.7, bits)
    layer = random_layer(rng, outputs, inputs, k, True)
    method = {} if engine is pixel_convolutions else {"method": "popcount"}
    got = engine.Convolution(layer, quantization, PLANES, Workspace(), **method)(x)
    np.testing.assert_allclose(got, expected_of(layer, quantization, x), rtol=1e-5, atol=1e-4)


@every
@pytest.mark.parametrize("value", [0.0, -0.0, 1e-30, -1e-30, 1e30, -1e30])
def test_a_sign_is_plus_above_zero(engine, value):
    quantization, x = Quantization.of(-1.0, 1.0, 1), np.full((1, 1, 1), value, np.float32)
    expected = [[[1.0 if value > 0 else -1.0]]]
    assert quantize(x, quantization).tolist() == expected
    layer = Layer(np.ones((1, 1, 1, 1), bool), sums_only(1))
    assert run(engine, layer, quantization, x).tolist() == expected
    first = engine.Convolution(Layer(np.ones((1, 1, 1, 1), np.float32), sums_only(1)), None,
                               OutputFormat(rounding=quantization), Workspace())  # fmt: skip
    assert engine.Convolution(layer, quantization, PLANES, Workspace())(first(x)).tolist() == expected
