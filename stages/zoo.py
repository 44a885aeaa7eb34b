"""Run a published pair of each network on one test set: scores, times on this machine, and pictures for the report.

The pictures are of the images where the binary networks lose most and least.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

import pipeline.benchmark  # noqa: F401 - first: keeps pools that share the cores from spinning
from pipeline.benchmark.machine import timed_environment
from pipeline.data.folders import atomic_folder
from pipeline.data.prepared import PreparedSet
from pipeline.data.resize import imresize
from pipeline.evaluation.gaps import image_gaps
from pipeline.evaluation.pictures import Pair, Upscaled, write_pictures
from pipeline.evaluation.protocol import evaluate
from pipeline.files import write_csv, write_json
from pipeline.params import load_params
from pipeline.records import PublishedRun, Score, score_rows
from pipeline.runs import prepared_folder
from pipeline.zoo.catalogue import measured_pairs, read_index
from pipeline.zoo.scores import mean_scores
from pipeline.zoo.speed import times
from stages.arguments import SetName
from stages.run import stage

MOST_BYTES = 256 << 20  # of upscaled images that are kept until it is known which are shown


def main(name: SetName) -> None:
    benchmark, machine = load_params().benchmark, timed_environment()
    images, pairs = PreparedSet.open(prepared_folder(name)), measured_pairs(read_index())
    scales = sorted({binary.scale for _, binary in pairs})
    upscaled = {scale: Upscaled(images, scale, MOST_BYTES // len(scales)) for scale in scales}
    scores: dict[str, dict[str, list[Score]]] = {}
    for scale in scales:
        scores[f"bicubic-x{scale}"] = {"bicubic": evaluate(partial(imresize, scale=scale), images, scale)}
    shown: dict[int, list[Pair]] = {scale: [] for scale in scales}
    timed = {}
    for real, binary in pairs:
        by = upscaled[binary.scale]
        scores[real.name] = {"torch": by.scores(real.path(), "torch")}
        scores[binary.name] = {
            "torch": by.scores(binary.path(), "torch"),
            "engine_int8": by.scores(binary.path(), "engine_int8"),
        }
        of_real, of_binary = ({s.image: s for s in scores[network.name]["torch"]} for network in (real, binary))
        shown[binary.scale].append(Pair(real.model, real.path(), binary.path(), image_gaps(of_real, of_binary)))
    for real, binary in pairs:
        image = images.lr(0, binary.scale)[: benchmark.lr_height, : benchmark.lr_width]
        threads = min(benchmark.threads, machine["cores"])
        timed[binary.name] = times(real.path(), binary.path(), image, threads, benchmark.repeats, benchmark.seconds)
    with atomic_folder(Path("results", "images", name, "zoo")) as fresh:  # empty where no pair is published
        for scale in scales:
            write_pictures(fresh / f"x{scale}", upscaled[scale], shown[scale])
    means = {method: mean_scores(of_method) for method, of_method in scores.items()}
    rows = [row for method, of_method in scores.items() for row in score_rows(of_method, method=method)]
    folder = Path("results", "zoo")
    write_csv(folder / f"{name}.csv", rows)
    write_json(folder / f"{name}.json", asdict(PublishedRun(name, means, timed, machine)))


if __name__ == "__main__":
    stage(main)
