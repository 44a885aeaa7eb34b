"""Time single layers, float in other runtimes and binary in the engine, in chains of equal ones."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from pipeline.benchmark.machine import timed_environment
from pipeline.benchmark.measure import TimingSettings
from pipeline.benchmark.record import layers_record, layers_rows
from pipeline.benchmark.workloads import seed
from pipeline.files import write_csv, write_json
from pipeline.params import load_params
from stages.run import stage


def main() -> None:
    params = load_params()
    benchmark, machine = params.benchmark, timed_environment()
    seed(params.seed)
    record = layers_record(
        params.binarize.model_dump(),
        (benchmark.lr_height, benchmark.lr_width),
        TimingSettings(min(benchmark.threads, machine["cores"]), benchmark.repeats, benchmark.seconds),
        machine,
    )
    path = Path("results", "benchmark", "layers.json")
    write_json(path, asdict(record))
    write_csv(path.with_suffix(".csv"), layers_rows(record))


if __name__ == "__main__":
    stage(main)
