"""Table indices: the signed sums that they name are those of the filters."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.kernels.pixel.compiled import SAFE_LOOK_UPS, TABLE_ROWS, VECTOR_BYTES, groups_at_once
from pipeline.engine.kernels.pixel.compiled.look_ups import ROW_BYTES, SHIFTS, TABLE_BYTES, table_bytes
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


@given(
    st.integers(1, 4), st.integers(1, 40), st.sampled_from([1, 3, 5, 7, 9]), st.sampled_from([2, 4]), st.integers(0, 99)
)
def test_offsets_point_at_the_sum_of_the_pixel_at_the_tap(outputs, inputs, k, value_bytes, seed):
    """In tables laid out as the kernel builds them: copies, sums, rows, and values of a few shifts in a row."""
    rng = np.random.default_rng(seed)
    indices = table_indices(rng.random((outputs, inputs, k, k)) < 0.5)
    groups, at_once, values = len(indices), groups_at_once(k, value_bytes), ROW_BYTES // value_bytes
    copies = -(-k // SHIFTS)
    assert copies * 16 * (TABLE_ROWS + k - 1) * ROW_BYTES == table_bytes(k)
    assert at_once == 1 or at_once * table_bytes(k) <= TABLE_BYTES
    assert value_bytes == 4 or at_once == 1 or at_once * k**2 <= SAFE_LOOK_UPS
    # What a value in a table is: the group, the sum, and the pixel, from the tile's first one without its halo
    group, copy, total, row, column = np.indices((at_once, copies, 16, TABLE_ROWS + k - 1, values))
    meaning = np.stack([group, total, row, column + copy * SHIFTS], axis=-1).reshape(-1, 4)

    offsets = look_up_offsets(indices, k, value_bytes)
    assert offsets.size == indices.size and not (offsets % value_bytes).any()
    for first in range(0, groups, at_once):
        together = indices[first : first + at_once]
        part = offsets[first * outputs * k * k :][: together.size].reshape(outputs, len(together), k, k)
        found = meaning[part // value_bytes]
        expected = np.indices((len(together), k, k))
        assert (found[..., 0] == expected[0]).all()
        assert (found[..., 1] == together.reshape(len(together), outputs, k, k).transpose(1, 0, 2, 3)).all()
        assert (found[..., 2] == expected[1]).all() and (found[..., 3] == expected[2]).all()
        last = part % ROW_BYTES + VECTOR_BYTES
        assert last.max() <= ROW_BYTES  # a vector is read within a cache line
