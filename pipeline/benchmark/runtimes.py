"""ONNX Runtime and OpenVINO on files that `pipeline.benchmark.exports` wrote; PyTorch is not needed."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.benchmark.backends import Backend, UnavailableError, optional
from pipeline.benchmark.signal_stack import signal_stack_kept

INPUT, HEIGHT, WIDTH = "x", "height", "width"  # the input of exported networks and its free dimensions


def onnxruntime(model: Path, x: NDArray[np.float32], threads: int) -> Backend:
    """Load an ONNX file into ONNX Runtime, specialised to the size of the input.

    Parameters
    ----------
    model : Path
    x : float32, shape (C, h, w)
    threads : int

    Raises
    ------
    UnavailableError
        If the package is not installed.
    """
    runtime, onnx = optional("onnxruntime"), optional("onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    options.add_free_dimension_override_by_name(HEIGHT, x.shape[1])
    options.add_free_dimension_override_by_name(WIDTH, x.shape[2])
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder, "optimized.onnx")
        options.optimized_model_filepath = str(optimized)
        session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        kinds = Counter(node.op_type for node in onnx.load(optimized, load_external_data=False).graph.node)
    int8 = kinds["QLinearConv"]
    batch = x[None]
    return Backend(
        run=lambda: session.run(None, {INPUT: batch})[0][0],
        precision=_precision({"uint8": int8, "float32": kinds["Conv"] + kinds["FusedConv"]}),
    )


def openvino(model: Path, x: NDArray[np.float32], threads: int) -> Backend:
    """Load an ONNX file or an OpenVINO model into OpenVINO, specialised to the size of the input, for low latency.

    Layers that are not int8 run in float32; by default some processors would run them in bfloat16.

    Parameters and errors as for `onnxruntime`.
    """
    return _openvino(model, x, threads, "f32")


def openvino_bfloat16(model: Path, x: NDArray[np.float32], threads: int) -> Backend:
    """Load an ONNX file into OpenVINO in bfloat16, its default on processors that multiply in it.

    Parameters and errors as for `onnxruntime`; the processor may also lack the instructions.
    """
    with signal_stack_kept():
        capabilities = optional("openvino").Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in capabilities:
        raise UnavailableError("this processor does not multiply in bfloat16")
    return _openvino(model, x, threads, "bf16")


def _openvino(model: Path, x: NDArray[np.float32], threads: int, precision: str) -> Backend:
    core = optional("openvino").Core()
    network = core.read_model(model)
    network.reshape([1, *x.shape])
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": precision,
    }
    with signal_stack_kept():
        compiled = core.compile_model(network, "CPU", settings)
    executed = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    kinds = Counter(
        info["runtimePrecision"].astype(str) for info in executed if info["layerType"].astype(str) == "Convolution"
    )
    names = {"u8": "uint8", "i8": "int8", "f32": "float32", "bf16": "bfloat16", "f16": "float16"}
    request, batch = compiled.create_infer_request(), x[None]

    def run() -> NDArray:
        return request.infer({0: batch}, share_inputs=True, share_outputs=True)[0][0]

    return Backend(run, _precision({names.get(kind, kind): count for kind, count in kinds.items()}))


RUNTIMES: Mapping[str, tuple[str, Callable[[Path, NDArray[np.float32], int], Backend]]] = {
    "onnxruntime_float32": ("onnx", onnxruntime),
    "onnxruntime_int8": ("onnxruntime_int8", onnxruntime),
    "openvino_float32": ("onnx", openvino),
    "openvino_bfloat16": ("onnx", openvino_bfloat16),
    "openvino_int8": ("openvino_int8", openvino),
}  # by name: the file of `pipeline.benchmark.exports.Exports` that a backend reads, and the function that loads it


def _precision(convolutions: dict[str, int]) -> str:
    """Return the precisions as text: ``float32``, or ``36 convolutions uint8, 1 convolutions float32``."""
    counts = {name: count for name, count in convolutions.items() if count}
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(
        f"{count} convolutions {name}" for name, count in sorted(counts.items(), key=lambda kind: -kind[1])
    )
