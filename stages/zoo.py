"""Run a published pair of each network on one test set: their scores and their times on this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pipeline.benchmark  # noqa: F401 - first: keeps pools that share the cores from spinning
from pipeline.benchmark.machine import timed_environment
from pipeline.data.prepared import PreparedSet
from pipeline.files import write_csv, write_json
from pipeline.params import load_params
from pipeline.records import PublishedRun, score_rows
from pipeline.runs import prepared_folder
from pipeline.zoo.catalogue import measured_pairs, read_index
from pipeline.zoo.scores import Task, mean_scores
from pipeline.zoo.speed import times
from stages.arguments import SetName
from stages.run import stage


def main(name: SetName) -> None:
    benchmark, machine = load_params().benchmark, timed_environment()
    images, pairs = PreparedSet.open(prepared_folder(name)), measured_pairs(read_index())
    networks = [network for pair in pairs for network in pair]
    tasks = [Task(name, scale) for scale in sorted({network.scale for network in networks})]
    tasks += [Task(name, network.scale, network, ("torch", "engine_int8")) for network in networks]
    scores = {task.method: task.scores() for task in tasks}
    timed = {}
    for real, binary in pairs:
        image = images.lr(0, binary.scale)[: benchmark.lr_height, : benchmark.lr_width]
        threads = min(benchmark.threads, machine["cores"])
        timed[binary.name] = times(real.path(), binary.path(), image, threads, benchmark.repeats, benchmark.seconds)
    means = {method: mean_scores(of_method) for method, of_method in scores.items()}
    rows = [row for method, of_method in scores.items() for row in score_rows(of_method, method=method)]
    folder = Path("results", "zoo")
    write_csv(folder / f"{name}.csv", rows)
    write_json(folder / f"{name}.json", asdict(PublishedRun(name, means, timed, machine)))


if __name__ == "__main__":
    stage(main)
