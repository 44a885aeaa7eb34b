"""Time one float network in PyTorch against its binary twin in the engine, alternating in one process."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from pipeline.engine import Engine
from pipeline.errors import one_line_errors
from pipeline.files import write_json
from pipeline.inference import channels_last
from pipeline.packing import load
from pipeline.params import load_params
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

    binary = Run(arguments.model, arguments.scale, "binary")
    network = load(binary.float_twin.packed)
    network_channels_last = channels_last(load(binary.float_twin.packed))
    engines = {kind: Engine.load(binary.packed, activations=kind, threads=threads) for kind in ("float32", "int8")}
    luma = arguments.model == "vdsr"  # whose input has the size of its output
    factor = arguments.scale if luma else 1
    size = (1 if luma else 3, settings.lr_height * factor, settings.lr_width * factor)
    inputs = np.random.default_rng(params.seed).random(size, dtype=np.float32)
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
        Path("results", "benchmark", f"{arguments.model}-x{arguments.scale}.json"),
        {
            "model": arguments.model,
            "scale": arguments.scale,
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


if __name__ == "__main__":
    with one_line_errors():
        main()
