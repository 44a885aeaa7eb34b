"""Holding a benchmark to an instruction set, and PyTorch in a process that is held."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from llvmlite import binding

from pipeline.benchmark import instruction_sets
from pipeline.benchmark.backends import UnavailableError
from pipeline.benchmark.exports import Exports
from pipeline.benchmark.held import held_torch
from pipeline.benchmark.instruction_sets import HELD, NEEDED, held_environment, narrower
from pipeline.benchmark.measure import build
from pipeline.benchmark.workloads import body, network
from pipeline.errors import InputError
from tests.torture import guarded

SIZES = {"blocks": 1, "channels": 8}


@pytest.fixture(scope="module")
def edsr():
    return network("edsr", 2, SIZES, {"scale_rule": "learnable", "scope": "blocks"})


def processor(monkeypatch, **features):
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: features)


def test_only_a_processor_with_more_is_held(monkeypatch):
    processor(monkeypatch, avx2=True, fma=True, avx512f=False)
    assert not narrower("avx2") and not narrower("native")
    with pytest.raises(InputError, match="--isa: this processor has no avx512; choose native"):
        narrower("avx512")
    processor(monkeypatch, avx2=True, fma=True, avx512f=True, avx512bw=True, avx512vl=True, avx512dq=True)
    assert narrower("avx2") and not narrower("avx512") and not narrower("native")
    processor(monkeypatch, avx2=True, fma=True, avxvnni=True)
    assert narrower("avx2")
    wide = {"avx2": True, "avx512f": True, "avx512bw": True, "avx512vl": True, "avx512dq": True, "amx-int8": True}
    processor(monkeypatch, **wide)
    assert narrower("avx512")
    assert "-amx-int8" in held_environment("avx512")["NUMBA_CPU_FEATURES"].split(",")
    assert "+avx512f" in held_environment("avx512")["NUMBA_CPU_FEATURES"].split(",")
    with pytest.raises(InputError, match="--isa: this processor has no amx; choose native"):
        narrower("amx")


@pytest.mark.parametrize(
    ("wider", "smaller"), [((), []), (("avx512",), ["avx2"]), (("avx512", "amx"), ["avx2", "avx512"])]
)
def test_kernels_are_guarded_on_what_the_processor_has(monkeypatch, wider, smaller):
    names = [name for isa in ("avx2", *wider) for name in NEEDED[isa]]
    processor(monkeypatch, **dict.fromkeys(names, True))
    native, generic, *others = guarded.instruction_sets()
    assert (native, generic) == ({}, {"NUMBA_CPU_NAME": "generic"})
    assert [held[HELD] for held in others] == smaller


def test_numba_and_pytorch_obey():
    program = (
        "import torch; from pipeline.engine.kernels.instructions import instructions;"
        "print(torch.backends.cpu.get_cpu_capability());"
        "print(any(name.startswith('avx512') for name in instructions()))"
    )
    environment = {"PATH": "", **held_environment()}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["AVX2", "False"]


def test_a_program_starts_again_once(monkeypatch):
    started = []
    monkeypatch.setattr(instruction_sets.os, "execve", lambda *arguments: started.append(arguments))
    monkeypatch.setattr(instruction_sets, "narrower", lambda isa: isa == "avx2")
    instruction_sets.hold("native")
    assert not started
    instruction_sets.hold("avx2")
    ((program, arguments, environment),) = started
    assert program == sys.executable and arguments == sys.orig_argv
    monkeypatch.setenv(instruction_sets.HELD, environment[instruction_sets.HELD])
    instruction_sets.hold("avx2")
    assert len(started) == 1


@pytest.mark.parametrize("name", ["onnxruntime_float32", "onnxruntime_int8", "torch_compile"])
def test_what_cannot_be_held_is_left_out(edsr, tmp_path, monkeypatch, name):
    monkeypatch.setenv(instruction_sets.HELD, "avx2")
    with pytest.raises(UnavailableError, match="cannot be held to AVX2"):
        build(name, edsr, Exports(edsr.real, edsr.calibration, tmp_path), edsr.input(16, 16), 1)


def test_pytorch_in_a_process_of_its_own(edsr, tmp_path):
    x = edsr.input(16, 20)
    held = held_torch(edsr.real, x, 1, {"ATEN_CPU_CAPABILITY": "default"}, tmp_path)
    with torch.inference_mode():
        expected = edsr.real(torch.from_numpy(x)[None])[0].numpy()
    for _ in range(3):
        np.testing.assert_allclose(held.run(), expected, atol=1e-5)


def test_a_process_that_is_killed_between_two_runs_is_said(edsr, tmp_path, monkeypatch):
    started = []

    class Child(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr("pipeline.benchmark.held.subprocess.Popen", Child)
    held = held_torch(edsr.real, edsr.input(16, 20), 1, {}, tmp_path)
    started[0].kill()
    started[0].wait()
    with pytest.raises(UnavailableError, match="its process ended with exit code -9"):
        held.run()


def test_a_part_of_a_network_and_a_process_that_fails_are_said(edsr, tmp_path, monkeypatch):
    with pytest.raises(UnavailableError, match="runs whole networks alone"):
        held_torch(body(edsr).real, body(edsr).input(16, 16), 1, {}, tmp_path)
    with pytest.raises(UnavailableError, match="its process ended with exit code 1"):
        held_torch(edsr.real, edsr.input(16, 16), 0, {}, tmp_path)  # PyTorch refuses 0 threads
