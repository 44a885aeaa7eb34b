"""PyTorch in a process of its own, held to a narrower instruction set than the processor has.

On some processors with AVX-512, its kernels for AVX2 are faster. A child (``python -m pipeline.benchmark.held FOLDER
THREADS``) runs the network once for every line that it reads, and answers with a line.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pipeline.benchmark.backends import Backend, UnavailableError
from pipeline.networks import NETWORKS
from pipeline.packing import load, save

NETWORK, INPUT, OUTPUT = "held.safetensors", "held-input.npy", "held-output.npy"


def held_torch(
    module: nn.Module, x: NDArray[np.float32], threads: int, environment: Mapping[str, str], folder: Path
) -> Backend:
    """Start a process that runs a network in PyTorch channels_last.

    Parameters
    ----------
    module : torch.nn.Module
        A whole network.
    x : float32, shape (C, h, w)
    threads : int
    environment : mapping
        Variables of the process beside those of this one.
    folder : Path
        For the files through which the processes exchange network, input and output.

    Raises
    ------
    UnavailableError
        For a part of a network, or if the process fails.
    """
    if getattr(module, "config", {}).get("model") not in NETWORKS:
        raise UnavailableError("runs whole networks alone")
    save(module, folder / NETWORK)
    np.save(folder / INPUT, x)
    child = subprocess.Popen(  # it ends when its standard input is closed, at the latest with this process
        [sys.executable, "-m", "pipeline.benchmark.held", str(folder), str(threads)],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def run() -> None:
        assert child.stdin is not None and child.stdout is not None
        with suppress(BrokenPipeError):  # the child has ended, and so reads as nothing below
            child.stdin.write("\n")
            child.stdin.flush()
        if not child.stdout.readline():
            raise UnavailableError(f"its process ended with exit code {child.wait()}")

    def run_again() -> NDArray:
        run()
        return output  # that of the first run: reading it again would take part of the time

    run()
    output = np.load(folder / OUTPUT)
    return Backend(run_again, "float32")


def main(folder: Path, threads: int) -> None:
    import torch

    from pipeline.inference import channels_last

    torch.set_num_threads(threads)
    module = channels_last(load(folder / NETWORK)).eval()
    x = torch.from_numpy(np.load(folder / INPUT))[None].contiguous(memory_format=torch.channels_last)
    for number, _ in enumerate(sys.stdin):
        with torch.inference_mode():
            output = module(x)[0].numpy()
        if number == 0:
            np.save(folder / OUTPUT, output)
        print("done", flush=True)


if __name__ == "__main__":
    from pipeline.allocator import keep_freed_memory

    keep_freed_memory()
    main(Path(sys.argv[1]), int(sys.argv[2]))
