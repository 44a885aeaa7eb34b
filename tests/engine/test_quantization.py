"""Rounding of filters to int8 at the ends of the range of float32."""

import numpy as np

from pipeline.engine.quantization import quantize_filters


def test_filters_too_small_for_a_scale_become_zeros():
    filters = np.array([0.0, 1e-45, -1e-44, 1e-30], np.float32).reshape(4, 1, 1, 1)
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        levels, scales = quantize_filters(filters)
    assert levels.ravel().tolist() == [0, 0, 0, 127] and np.isfinite(scales).all() and (scales > 0).all()
