"""Run the published networks on one test set: what they score here, and how long they take."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pipeline.benchmark  # noqa: F401 - first: keeps pools that share the cores from spinning
from pipeline.data.prepared import PreparedSet
from pipeline.files import write_csv, write_json
from pipeline.params import load_params
from pipeline.provenance import environment
from pipeline.runs import prepared_folder
from pipeline.zoo.catalogue import pairs, read_index
from pipeline.zoo.scores import bicubic_scores, mean_scores, model_scores
from pipeline.zoo.speed import times
from stages.arguments import SetName
from stages.run import stage


def main(name: SetName) -> None:
    benchmark, machine = load_params().benchmark, environment()
    images, models = PreparedSet.open(prepared_folder(name)), read_index()
    scores = {
        f"bicubic-x{scale}": {"bicubic": bicubic_scores(images, scale)}
        for scale in sorted({model.scale for model in models})
    }
    scores |= {model.name: model_scores(model, images) for model in models}
    timed: dict[str, Any] = {}
    for real, binary in pairs(models):
        image = images.lr(0, binary.scale)[: benchmark.lr_height, : benchmark.lr_width]
        threads = min(benchmark.threads, machine["cores"])
        timed[binary.name] = times(real.path(), binary.path(), image, threads, benchmark.repeats, benchmark.seconds)
    methods = {method: mean_scores(held) for method, held in scores.items()}
    record = {"set": name, "methods": methods, "times": timed, "environment": machine}
    rows = [
        {"method": method, "backend": backend, **asdict(score)}
        for method, held in scores.items()
        for backend, found in held.items()
        for score in found
    ]
    folder = Path("results", "zoo")
    write_csv(folder / f"{name}.csv", rows)
    write_json(folder / f"{name}.json", record)


if __name__ == "__main__":
    stage(main)
