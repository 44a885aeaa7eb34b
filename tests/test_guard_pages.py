"""Guard pages find what they are for, in arrays of NumPy and of compiled code, also in compiled code of a cache."""

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PROGRAM = """
import os, sys
import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic
from tests import guard_pages
from pipeline.engine.workspace import aligned

@njit
def read(address, offset):
    return carray(guard_pages._words(np.uint64(np.int64(address) + offset)), 1)[0]

@njit
def read_own(size, offset):
    own = np.ones(size, np.uint64)
    value = read(own.ctypes.data, offset)
    return value + own[0]

arrays = {"numpy": np.ones(100, np.uint64), "workspace": aligned(np.ones(96, np.uint64))}
reads = {kind: lambda offset, array=array: read(array.ctypes.data, offset) for kind, array in arrays.items()}
reads["compiled"] = lambda offset: read_own(100, offset)
sizes = {"numpy": 800, "workspace": 768, "compiled": 800}
for kind, size in sizes.items():
    inside, outside = (size - 8, size) if sys.argv[1] == "after" else (0, -8)
    reads[kind](inside)
    if (child := os.fork()) == 0:
        reads[kind](outside)
        os._exit(0)
    print(kind, os.waitpid(child, 0)[1])
"""


@pytest.mark.parametrize("end", ["after", "before"])
def test_a_word_outside_an_array_ends_the_process(end):
    command, environment = [sys.executable, "-c", PROGRAM, end], os.environ | {"GUARD_PAGES": end}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    fault = signal.SIGSEGV.value
    assert done.stdout.splitlines() == [f"{kind} {fault}" for kind in ("numpy", "workspace", "compiled")]


@pytest.mark.parametrize("end", ["after", "before"])
def test_the_engine_stays_inside_its_arrays(end):
    """Whole networks; `make torture` does the same with the tests of every kernel, on every instruction set."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.guard_pages", "tests/engine/test_networks.py"]
    environment = os.environ | {"GUARD_PAGES": end}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
