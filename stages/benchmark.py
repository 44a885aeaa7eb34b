"""Time one float network in other runtimes against its binary twin in the engine, untrained.

Its sizes are those of ``benchmark.network``: time does not depend on training.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from pipeline.benchmark.machine import timed_environment
from pipeline.benchmark.measure import TimingSettings
from pipeline.benchmark.record import network_record, network_rows
from pipeline.benchmark.workloads import seed
from pipeline.files import write_csv, write_json
from pipeline.params import load_params
from stages.arguments import Model, Scale
from stages.run import stage


def main(model: Model, scale: Scale) -> None:
    params = load_params()
    params.require(model, scale)
    benchmark, machine = params.benchmark, timed_environment()
    seed(params.seed)
    record = network_record(
        model,
        scale,
        params.benchmark_overrides(model, "float"),
        params.binarize.model_dump(),
        (benchmark.lr_height, benchmark.lr_width),
        benchmark.sizes,
        TimingSettings(min(benchmark.threads, machine["cores"]), benchmark.repeats, benchmark.seconds),
        machine,
    )
    path = Path("results", "benchmark", f"{model}-x{scale}.json")
    write_json(path, asdict(record))
    write_csv(path.with_suffix(".csv"), network_rows(record))


if __name__ == "__main__":
    stage(main)
