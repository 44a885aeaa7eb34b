"""Guard pages find what they are for, in arrays of NumPy and of compiled code, also in compiled code of a cache."""

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PROGRAM = """
import sys
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

kind, offset = sys.argv[1], int(sys.argv[2])
arrays = {"numpy": np.ones(100, np.uint64), "workspace": aligned(np.ones(96, np.uint64))}
print(read_own(100, offset) if kind == "compiled" else read(arrays[kind].ctypes.data, offset))
"""


def run(end, kind, offset):
    command = [sys.executable, "-c", PROGRAM, kind, str(offset)]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"GUARD_PAGES": end}, capture_output=True, check=False)


@pytest.mark.parametrize(("kind", "size"), [("numpy", 800), ("workspace", 768), ("compiled", 800)])
def test_a_word_outside_an_array_ends_the_process(kind, size):
    for end, inside, outside in (("after", size - 8, size), ("before", 0, -8)):
        done = run(end, kind, inside)
        assert done.returncode == 0, done.stderr.decode()
        assert run(end, kind, outside).returncode == -signal.SIGSEGV


@pytest.mark.parametrize("end", ["after", "before"])
def test_the_engine_stays_inside_its_arrays(end):
    """Whole networks; `make torture` does the same with the tests of every kernel, on every instruction set."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.guard_pages", "tests/engine/test_networks.py"]
    environment = os.environ | {"GUARD_PAGES": end}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
