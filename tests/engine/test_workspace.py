"""The workspace gives an array again only when nobody holds it."""

import numpy as np

from pipeline.engine.workspace import Workspace


def test_an_array_in_use_is_not_given_again():
    workspace = Workspace()
    first, second = workspace.array((2, 3), np.float32), workspace.array((2, 3), np.float32)
    assert first is not second and not first.any()
    address = first.ctypes.data
    view = first[1:]
    first[:] = 7
    del first
    assert workspace.array((2, 3), np.float32) is not second
    assert view[0, 0] == 7 and workspace.array((2, 3), np.float32).ctypes.data != address  # the view holds it
    del view
    again = workspace.array((2, 3), np.float32)
    assert again.ctypes.data == address and again[0, 0] == 7


def test_purposes_shapes_and_types_are_apart():
    workspace = Workspace()
    addresses = {
        workspace.array(shape, dtype, purpose).ctypes.data
        for shape in ((4, 4), (2, 8))
        for dtype in (np.float32, np.int16)
        for purpose in (None, "padded")
    }
    assert len(addresses) == 8
    workspace.clear()
    assert not workspace._arrays
