"""Processes of one thread each: what they compute with, and that none outlives its parent."""

import os
import signal
import subprocess
import sys
import time

import numba
import torch

from pipeline.zoo.processes import one_thread_each
from tests.conftest import ROOT


def threads():
    return torch.get_num_threads(), numba.get_num_threads()


def test_every_process_has_one_thread_for_both():
    with one_thread_each(1) as pool:
        assert pool.submit(threads).result() == (1, 1)


def test_they_end_with_a_parent_that_is_killed(tmp_path):
    program = tmp_path / "parent.py"
    program.write_text(
        "import os, time\n"
        "from pipeline.zoo.processes import one_thread_each\n"
        "if __name__ == '__main__':\n"
        "    pool = one_thread_each(1)\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    pool.submit(time.sleep, 600)\n"
        "    time.sleep(600)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, program], env=environment, stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    os.kill(child, 0)  # it is there
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    while alive(child):
        time.sleep(0.05)


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{process}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"
