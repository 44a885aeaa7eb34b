"""Time one float network in PyTorch against its binary twin in the engine, alternating in one process.

Time does not depend on what was learned, so both are built afresh, in the sizes of ``benchmark.network``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from pipeline.calibration import calibrate
from pipeline.engine import Engine
from pipeline.errors import one_line_errors
from pipeline.files import write_json
from pipeline.inference import channels_last
from pipeline.models import build
from pipeline.packed import read
from pipeline.packing import save
from pipeline.params import Params, load_params
from pipeline.provenance import environment
from pipeline.runs import Run
from pipeline.timing import alternate, summary
from stages.arguments import add_model, add_scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_model(parser)
    add_scale(parser)
    arguments = parser.parse_args()
    params = load_params()
    params.require(arguments.model, arguments.scale)
    settings = params.benchmark
    machine = environment()
    threads = min(settings.threads, machine["cores"])
    torch.set_num_threads(threads)
    torch.manual_seed(params.seed)
    rng = np.random.default_rng(params.seed)

    run = Run(arguments.model, arguments.scale, "binary")
    float_overrides = params.benchmark_overrides(run.model, "float")
    network = build(run.model, run.scale, "float", **float_overrides).eval()
    network_channels_last = channels_last(build(run.model, run.scale, "float", **float_overrides)).eval()
    engines = build_engines(run, params, threads, rng)
    luma = run.model == "vdsr"  # whose input has the size of its output
    factor = run.scale if luma else 1
    size = (1 if luma else 3, settings.lr_height * factor, settings.lr_width * factor)
    inputs = rng.random(size, dtype=np.float32)
    batch = torch.from_numpy(inputs)[None]
    batch_channels_last = batch.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        seconds = alternate(
            {
                "torch": lambda: network(batch),
                "torch_channels_last": lambda: network_channels_last(batch_channels_last),
                "engine_float32": lambda: engines["float32"].forward(inputs),
                "engine_int8": lambda: engines["int8"].forward(inputs),
            },
            settings.repeats,
        )
    backends = {name: summary(values) for name, values in seconds.items()}
    reference = backends["torch_channels_last"]["median_ms"]
    write_json(
        Path("results", "benchmark", f"{run.model}-x{run.scale}.json"),
        {
            "model": run.model,
            "scale": run.scale,
            "network": float_overrides,
            "parameters": sum(value.numel() for value in network.parameters()),
            "lr_size": [settings.lr_height, settings.lr_width],
            "threads": threads,
            "repeats": settings.repeats,
            "environment": machine,
            "backends": backends,
            "speedup": {
                name: round(reference / backends[name]["median_ms"], 3) for name in ("engine_float32", "engine_int8")
            },
        },
    )


def build_engines(run: Run, params: Params, threads: int, rng: np.random.Generator) -> dict[str, Engine]:
    """The binary network in the engine, with float32 and with int8 activations, by way of a packed file."""
    module = build(run.model, run.scale, "binary", **params.benchmark_overrides(run.model, "binary"))
    image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{run.name}.safetensors")
        save(module, path)
        save(module, path, {"activations": calibrate(read(path), [image])})
        return {
            "float32": Engine.load(path, activations="float32", threads=threads),
            "int8": Engine.load(path, activations="int8", threads=threads),
        }


if __name__ == "__main__":
    with one_line_errors():
        main()
