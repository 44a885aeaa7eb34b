"""Which instruction sets Numba compiles for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from llvmlite import binding
from numba import config

from pipeline.engine.kernels.channel import compiled
from pipeline.engine.kernels.instructions import instructions
from tests.conftest import ROOT


@pytest.mark.parametrize(("features", "there"), [("+avx2,+fma,-avx512f", {"avx2", "fma"}), ("", set())])
def test_what_numba_is_told_counts(monkeypatch, features, there):
    monkeypatch.setattr(config, "CPU_FEATURES", features)
    assert instructions() == there


@pytest.mark.parametrize("name", ["generic", binding.get_host_cpu_name()])
@pytest.mark.parametrize("avx", ["0", "1"])
def test_they_are_those_of_the_code_that_numba_makes(name, avx):
    program = """
from numba.core.registry import cpu_target
from pipeline.engine.kernels.channel import compiled
from pipeline.engine.kernels.instructions import instructions
features = cpu_target.target_context.codegen()._tm_features
assert instructions() == {part[1:] for part in features.split(",") if part.startswith("+")}, features
"""
    told = {"NUMBA_CPU_NAME": name, "NUMBA_ENABLE_AVX": avx}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=os.environ | told, check=True)


def test_else_it_is_this_processor(monkeypatch):
    monkeypatch.setattr(config, "CPU_FEATURES", None)
    features = binding.get_host_cpu_features()
    assert instructions() == {name for name in features if features[name]}


def test_tiles_need_bfloat16_vectors_too(monkeypatch):
    without = {*compiled.FEATURES, *compiled.TILE_FEATURES} - {"avx512bf16"}
    monkeypatch.setattr(compiled.processor, "instructions", lambda: frozenset(without))
    assert compiled.supported() and not compiled.tiles_supported.__wrapped__()
