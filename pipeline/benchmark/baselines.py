"""The peers: PyTorch, ONNX Runtime and OpenVINO run the float network on a CPU, in float32 and in int8.

Each is built from the network, an input (float32, shape (C, h, w)) and a number of threads.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.benchmark.backends import Backend, UnavailableError
from pipeline.benchmark.exports import Exports
from pipeline.benchmark.held import held_torch
from pipeline.benchmark.instruction_sets import held, held_environment, narrower
from pipeline.benchmark.runtimes import RUNTIMES
from pipeline.inference import channels_last, no_compiler

Build = Callable[[Exports, NDArray[np.float32], int], Backend]


def torch_default(network: Exports, x: NDArray[np.float32], threads: int) -> Backend:
    """PyTorch with its default memory layout."""
    return _torch(network.module, torch.from_numpy(x)[None], threads)


def torch_channels_last(network: Exports, x: NDArray[np.float32], threads: int) -> Backend:
    """PyTorch with the memory layout in which its convolutions are fastest."""
    return _torch(channels_last(copy.deepcopy(network.module)), _channels_last(x), threads)


def torch_compile(network: Exports, x: NDArray[np.float32], threads: int) -> Backend:
    """PyTorch's compiler, with the weights frozen so that they are folded and laid out at compile time."""
    if reason := no_compiler():
        raise UnavailableError(reason)
    # Without fullgraph, plain PyTorch would silently run whatever the compiler cannot compile.
    options = {"fullgraph": True, "dynamic": False, "options": {"freezing": True}}
    module = channels_last(copy.deepcopy(network.module))
    compiled: Any = torch.compile(module, **options)  # type: ignore[call-overload]  # stubs without **options
    backend = _torch(compiled, _channels_last(x), threads)
    backend.run()  # compiles
    return backend


def torch_avx2(network: Exports, x: NDArray[np.float32], threads: int) -> Backend:
    """PyTorch channels_last in a process of its own, held to AVX2, where the processor has more."""
    if not narrower("avx2"):
        raise UnavailableError("this processor has nothing wider than AVX2")
    if held() == "avx2":
        raise UnavailableError("all of this measurement is held to AVX2")
    return held_torch(network.module, x, threads, held_environment(), network.folder)


def _from_file(file: str, load: Callable[[Path, NDArray[np.float32], int], Backend]) -> Build:
    return lambda network, x, threads: load(getattr(network, file), x, threads)


PEERS: Mapping[str, Build] = {
    "torch": torch_default,
    "torch_channels_last": torch_channels_last,
    "torch_compile": torch_compile,
    "torch_avx2": torch_avx2,
    **{name: _from_file(*source) for name, source in RUNTIMES.items()},
}


def _torch(module: nn.Module, batch: torch.Tensor, threads: int) -> Backend:
    def run() -> NDArray:
        torch.set_num_threads(threads)  # a setting of the whole process, which other backends change
        with torch.inference_mode():
            return module(batch)[0].numpy()

    return Backend(run, "float32")


def _channels_last(x: NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(x)[None].contiguous(memory_format=torch.channels_last)
