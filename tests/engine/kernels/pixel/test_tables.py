"""Table indices: the signed sums that they name are those of the filters."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.kernels.pixel.compiled import TABLE_ROWS, VECTOR_BYTES
from pipeline.engine.kernels.pixel.tables import look_up_offsets, table_indices

SIGNS = np.array([signs[::-1] for signs in itertools.product([-1, 1], repeat=4)])  # bit 0 is the first channel's


@given(st.integers(1, 5), st.integers(1, 13), st.sampled_from([1, 3, 5, 9]), st.integers(0, 2**32 - 1))
def test_indices_name_the_signed_sums(outputs, inputs, k, seed):
    rng = np.random.default_rng(seed)
    filters = rng.random((outputs, inputs, k, k)) < 0.5
    x = rng.integers(-127, 128, (inputs, k * k))
    groups = -(-inputs // 4)
    padded = np.zeros((groups * 4, k * k), int)
    padded[:inputs] = x
    sums = np.einsum("si,git->gst", SIGNS, padded.reshape(groups, 4, k * k))

    indices = table_indices(filters)
    assert indices.shape == (groups, outputs, k * k)
    for o in range(outputs):
        got = sum(sums[g, indices[g, o, t], t] for g in range(groups) for t in range(k * k))
        assert got == (np.where(filters[o].reshape(inputs, -1), 1, -1) * x).sum()


def test_offsets_are_shifts_then_sums_then_rows():
    indices = table_indices(np.ones((1, 4, 3, 3), bool))  # always the last sum, number 15
    vectors = look_up_offsets(indices, 3).ravel() // VECTOR_BYTES
    rows = TABLE_ROWS + 2
    expected = [(shift * 16 + 15) * rows + row for row in range(3) for shift in range(3)]
    assert vectors.tolist() == expected
