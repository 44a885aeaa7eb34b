"""Every kernel against the NumPy definitions."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.engine import kernels
from pipeline.engine.convolutions import FloatConvolution, Int8TableConvolution, Reader, TableConvolution
from pipeline.engine.epilogue import Epilogue
from pipeline.engine.layers import Layer
from pipeline.engine.reference import convolution, finish, quantize, step_of
from pipeline.engine.workspace import Workspace

KERNELS = st.sampled_from([1, 3, 5, 9])
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40)) | st.sampled_from(
    [(1, 1), (1, 300), (300, 1), (2, 7), (17, 97)]
)


def sums_only(outputs):
    """An epilogue that leaves the sums as they are."""
    return Epilogue(np.ones(outputs, np.float32), np.zeros(outputs, np.float32), np.ones(outputs, np.float32))


def random_epilogue(rng, outputs):
    return Epilogue(*rng.standard_normal((3, outputs)).astype(np.float32))


def assert_within_rounding(got, x, filters, expected):
    """Float32 sums may be off by a few roundings of the largest sum there could be."""
    magnitude = convolution(np.abs(x).astype(np.float64), np.abs(np.where(filters == 0, -1.0, filters)))
    assert (np.abs(got - expected) <= 2e-6 * magnitude + 1e-30).all()


@settings(max_examples=60)
@given(SIZES, st.integers(1, 70), st.integers(1, 9), KERNELS, SEEDS)
def test_float_convolution(size, inputs, outputs, k, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((inputs, *size)).astype(np.float32)
    filters = rng.standard_normal((outputs, inputs, k, k)).astype(np.float32)
    got = FloatConvolution(Layer(filters, sums_only(outputs)))(x)
    assert_within_rounding(got, x, filters, convolution(x, filters))


@settings(max_examples=60)
@given(SIZES, st.integers(1, 70), st.integers(1, 9), KERNELS, st.sampled_from([0.0, 0.5, 1.0]), SEEDS)
@example((17, 31), 64, 64, 3, 0.5, 0)
def test_binary_convolution(size, inputs, outputs, k, positive, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((inputs, *size)).astype(np.float32)
    filters = rng.random((outputs, inputs, k, k)) < positive
    got = TableConvolution(Layer(filters, sums_only(outputs)))(x)
    assert_within_rounding(got, x, filters, convolution(x, filters))


@settings(max_examples=60)
@given(SIZES, st.integers(1, 70), st.integers(1, 9), KERNELS, st.sampled_from([0.0, 0.5, 1.0]), SEEDS)
@example((17, 31), 64, 64, 3, 0.5, 0)
def test_int8_convolution_is_exact(size, inputs, outputs, k, positive, seed):
    rng = np.random.default_rng(seed)
    x = (1.5 * rng.standard_normal((inputs, *size))).astype(np.float32)  # some of it saturates
    filters = rng.random((outputs, inputs, k, k)) < positive
    layer, step = Layer(filters, sums_only(outputs)), step_of(1.7)
    got = Int8TableConvolution(layer, 1.7)(x)
    np.testing.assert_array_equal(got, finish(convolution(quantize(x, step), filters), layer.epilogue.times(step)))


@pytest.mark.parametrize("k", [1, 3, 5, 9])
@pytest.mark.parametrize(("activation", "positive"), [(1, True), (1, False), (-1, True), (-1, False)])
def test_int8_sums_do_not_overflow_at_their_largest(k, activation, positive):
    x = np.full((256, 5, 11), 1e9 * activation, np.float32)  # saturates
    filters = np.full((2, 256, k, k), positive)
    epilogue = Epilogue(np.full(2, 1 / step_of(1.0)), np.zeros(2, np.float32), np.ones(2, np.float32))
    got = Int8TableConvolution(Layer(filters, epilogue), 1.0)(x)
    expected = convolution(np.full(x.shape, 127 * activation), filters)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    if k == 9:
        assert abs(got).max() > 32767  # else the test would prove nothing


def test_the_bound_on_int16_sums_is_tight():
    assert 4 * 127 * kernels.SAFE_LOOK_UPS <= 32767 < 4 * 127 * (kernels.SAFE_LOOK_UPS + 1)
    assert kernels.SAFE_LOOK_UPS == 64


@pytest.mark.parametrize("kind", ["float", "binary", "int8"])
@settings(max_examples=25)
@given(SIZES, st.sampled_from([1, 2, 3]), st.booleans(), SEEDS)
def test_epilogue_shuffle_and_residual(kind, size, shuffle, with_residual, seed):
    rng = np.random.default_rng(seed)
    outputs = 2 * shuffle**2
    x = rng.standard_normal((5, *size)).astype(np.float32)
    filters = rng.standard_normal((outputs, 5, 3, 3)).astype(np.float32)
    filters = filters if kind == "float" else filters > 0
    layer = Layer(filters, random_epilogue(rng, outputs))
    shape = (2, size[0] * shuffle, size[1] * shuffle)
    residual = rng.standard_normal(shape).astype(np.float32) if with_residual else None
    then = {"shuffle": shuffle, "residual": residual, "residual_scale": 0.1 if with_residual else 1.0}
    if kind == "int8":
        got = Int8TableConvolution(layer, 2.0)(x, **then)
        step = step_of(2.0)
        expected = finish(convolution(quantize(x, step), filters), layer.epilogue.times(step), **then)
    else:
        got = (FloatConvolution if kind == "float" else TableConvolution)(layer)(x, **then)
        expected = finish(convolution(x, filters), layer.epilogue, **then)
    assert got.shape == expected.shape == shape
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4)


def test_rounding_is_half_to_even_and_saturates():
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.5, 128.0, -1e30, 1e30], np.float32)
    assert quantize(x, np.float32(1)).tolist() == [0, 2, 2, 0, -2, 126, 127, 127, -127, 127]
    layer = Layer(np.ones((1, 1, 1, 1), bool), sums_only(1))
    assert (
        Int8TableConvolution(layer, 127.0)(x.reshape(1, 2, 5)).ravel().tolist() == quantize(x, np.float32(1)).tolist()
    )


@pytest.mark.parametrize("kind", ["float", "binary", "int8"])
@settings(max_examples=25)
@given(SIZES, st.integers(1, 9), KERNELS, st.booleans(), SEEDS)
def test_levels_written_on_the_way_are_those_of_the_values(kind, size, outputs, reader_size, as_float, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((5, *size)).astype(np.float32)
    filters = rng.standard_normal((outputs, 5, 3, 3)).astype(np.float32)
    filters = filters if kind == "float" else filters > 0
    layer = Layer(filters, random_epilogue(rng, outputs), read_as_float=as_float)
    residual = rng.standard_normal((outputs, *size)).astype(np.float32)

    def make(layer, reader=None):
        if kind == "int8":
            return Int8TableConvolution(layer, 2.0, reader)
        return (FloatConvolution if kind == "float" else TableConvolution)(layer, reader)

    values = make(layer)(x, residual=residual)
    step = step_of(3.0)
    got = make(layer, Reader(reader_size, step))(x, residual=residual)
    assert (got.height, got.width) == size
    np.testing.assert_array_equal(got.values, values if as_float else np.empty((0, 0, 0), np.float32))
    expected = np.zeros_like(got.levels)
    halo = reader_size // 2
    expected[:outputs, halo : halo + size[0], halo : halo + size[1]] = quantize(values, step)
    np.testing.assert_array_equal(got.levels, expected)


@pytest.mark.parametrize("int8", [False, True])
def test_layers_of_other_channels_do_not_leave_theirs_behind(int8):
    """9 channels fill up to 12 in a table: where 12 real ones have been, there must be zeros for the 9."""
    rng, workspace = np.random.default_rng(0), Workspace()
    for inputs in (12, 9, 12, 10):
        x = rng.standard_normal((inputs, 7, 11)).astype(np.float32)
        layer = Layer(rng.random((4, inputs, 3, 3)) < 0.5, sums_only(4))
        shared = Int8TableConvolution(layer, 2.0, None, workspace) if int8 else TableConvolution(layer, None, workspace)
        alone = Int8TableConvolution(layer, 2.0) if int8 else TableConvolution(layer)
        np.testing.assert_array_equal(shared(x), alone(x))
