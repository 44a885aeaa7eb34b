"""Which instruction sets Numba compiles for."""

from __future__ import annotations

import pytest
from llvmlite import binding
from numba import config

from pipeline.engine.kernels.instructions import instructions


@pytest.mark.parametrize(
    ("features", "name", "there"),
    [("+avx2,+fma,-avx512f", None, {"avx2", "fma"}), (None, "generic", set()), ("", None, set())],
)
def test_what_numba_is_told_counts(monkeypatch, features, name, there):
    monkeypatch.setattr(config, "CPU_FEATURES", features)
    monkeypatch.setattr(config, "CPU_NAME", name)
    assert instructions() == there


def test_else_it_is_this_processor(monkeypatch):
    monkeypatch.setattr(config, "CPU_FEATURES", None)
    monkeypatch.setattr(config, "CPU_NAME", None)
    features = binding.get_host_cpu_features()
    assert instructions() == {name for name in features if features[name]}
