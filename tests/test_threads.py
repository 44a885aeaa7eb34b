"""The number of threads of PyTorch and Numba."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

PROGRAM = """
import numba
import torch
from numba import njit, prange
from pipeline.threads import set_threads

@njit(parallel=True)
def count(n):
    total = 0
    for _ in prange(n):
        total += 1
    return total

if {numba_first}:
    count(5)
set_threads({threads})
count(5)
assert torch.get_num_threads() == {threads}, torch.get_num_threads()
assert numba.get_num_threads() == min({threads}, 2), numba.get_num_threads()
"""


@pytest.mark.parametrize("numba_first", [True, False])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_both_have_that_number_and_keep_it(threads, numba_first, monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    program = PROGRAM.format(threads=threads, numba_first=numba_first)
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
