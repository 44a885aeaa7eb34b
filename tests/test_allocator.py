"""That freed memory is kept, as the system counts it."""

import ctypes
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from pipeline.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(40):
        torch.empty(64 << 20, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults())
keep_freed_memory()
print(faults())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_memory_that_was_freed_is_not_asked_for_again():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 2 * after  # not all of it: small blocks may settle in what was freed


GROWING = """
import resource, sys
import torch
from pipeline.allocator import give_back_freed_memory, keep_freed_memory

keep_freed_memory()
kept = []
for size in range(1, 60):  # each a little larger than the gap that the last one left
    torch.empty(size << 20, dtype=torch.uint8).fill_(1)
    kept.append(torch.empty(1 << 14, dtype=torch.uint8).fill_(1))
    if sys.argv[1] == "give back":
        give_back_freed_memory()
with open("/proc/self/statm") as file:
    print(int(file.read().split()[1]) * resource.getpagesize() >> 20)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_what_is_given_back_no_longer_adds_up():
    resident = [
        int(subprocess.run([sys.executable, "-c", GROWING, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep", "give back")
    ]
    assert resident[1] < resident[0] - 30, resident  # MiB
