"""After OpenVINO was used and let go, a signal is handled as before."""

import ctypes
import os
import subprocess
import sys

import pytest

from pipeline.benchmark.signal_stack import signal_stack_kept
from tests.conftest import ROOT

# Two cores that end in the order in which they were made, and those of the quantizer.
TWO_CORES = """
import gc, signal, sys
from pathlib import Path
import numpy as np
from pipeline.benchmark import runtimes
from pipeline.benchmark.exports import Exports
from pipeline.models import build

x = np.random.default_rng(0).random((3, 8, 8), np.float32)
exports = Exports(build("edsr", 2, "float", blocks=1, channels=8).eval(), [x], Path(sys.argv[1]))
first = runtimes.openvino(exports.openvino_int8, x, 1)
second = runtimes.openvino(exports.onnx, x, 1)
for backend in (first, second):
    assert np.isfinite(backend.run()).all()
del first, backend
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
signal.raise_signal(signal.SIGTERM)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the instructions that need it")
def test_the_stack_is_put_back():
    def stack():
        found = ctypes.create_string_buffer(64)
        ctypes.CDLL(None).sigaltstack(None, found)
        return found.raw

    before, other = stack(), ctypes.create_string_buffer(1 << 17)
    with pytest.raises(ZeroDivisionError), signal_stack_kept():
        address, size = ctypes.addressof(other).to_bytes(8, "little"), len(other).to_bytes(8, "little")
        ctypes.CDLL(None).sigaltstack(ctypes.create_string_buffer(address + bytes(8) + size), None)
        assert stack() != before
        raise ZeroDivisionError
    assert stack() == before


def test_a_signal_after_openvino_is_handled(tmp_path):
    for package in ("openvino", "nncf"):
        pytest.importorskip(package, reason="the extra `peers` is not installed")
    command = [sys.executable, "-X", "faulthandler", "-c", TWO_CORES, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
