"""Run the published networks on one test set: what they score here, and how long they take."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pipeline.benchmark  # noqa: F401 - first: keeps pools that share the cores from spinning
from pipeline.data.prepared import PreparedSet
from pipeline.errors import one_line_errors
from pipeline.files import write_json
from pipeline.params import load_params
from pipeline.provenance import environment
from pipeline.runs import prepared_folder
from pipeline.zoo.catalogue import read_index
from pipeline.zoo.scores import bicubic_scores, mean_scores, model_scores
from pipeline.zoo.speed import times
from stages.arguments import add_set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_set(parser)
    name = parser.parse_args().set
    benchmark, machine = load_params().benchmark, environment()
    images, models = PreparedSet.open(prepared_folder(name)), read_index()
    methods = {
        f"bicubic-x{scale}": mean_scores({"bicubic": bicubic_scores(images, scale)})
        for scale in sorted({model.scale for model in models})
    }
    methods |= {model.name: mean_scores(model_scores(model, images)) for model in models}
    by_name = {model.name: model for model in models}
    timed: dict[str, Any] = {}
    for model in models:
        if model.variant or model.twin not in by_name:
            continue
        image = images.lr(0, model.scale)[: benchmark.lr_height, : benchmark.lr_width]
        threads = min(benchmark.threads, machine["cores"])
        real = by_name[model.twin].path()
        timed[model.name] = times(real, model.path(), image, threads, benchmark.repeats, benchmark.seconds)
    record = {"set": name, "methods": methods, "times": timed, "environment": machine}
    write_json(Path("results", "zoo", f"{name}.json"), record)


if __name__ == "__main__":
    with one_line_errors():
        main()
