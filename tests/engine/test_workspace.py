"""The workspace gives a buffer again only when it was given back."""

import numpy as np

from pipeline.engine.workspace import Workspace


def test_a_buffer_in_use_is_not_given_again():
    workspace = Workspace()
    first, second = workspace.take((2, 3), np.float32), workspace.take((2, 3), np.float32)
    assert first is not second and not first.any()
    first[:] = 7
    assert workspace.take((2, 3), np.float32) is not second
    workspace.give_back(first)
    again = workspace.take((2, 3), np.float32)
    assert again is first and again[0, 0] == 7
    assert workspace.take((2, 3), np.float32) is not first


def test_purposes_shapes_and_types_are_apart():
    workspace = Workspace()
    addresses = set()
    for shape in ((4, 4), (2, 8)):
        for dtype in (np.float32, np.int16):
            for purpose in (None, "padded"):
                array = workspace.take(shape, dtype, purpose)
                workspace.give_back(array)
                addresses.add(array.ctypes.data)
    assert len(addresses) == 8
    assert workspace.nbytes == 4 * 16 * (4 + 2)
    workspace.clear()
    assert workspace.nbytes == 0
