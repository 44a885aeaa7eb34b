"""Every result file of a run, read into typed records; the files a run must have follow from its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.params import Params
from pipeline.reading import REMEDY, Scores, by_backend, read_csv, read_json, read_text
from pipeline.records import (
    Footprint,
    Layers,
    NetworkBenchmark,
    PictureRecord,
    PublishedRatios,
    PublishedRun,
    Quality,
    ScoreRow,
    SearchTrial,
    StageSeconds,
    TrainingRecord,
)
from pipeline.runs import MODELS, SCALES, Run, Weights, prepared_folder, seconds_file
from pipeline.zoo.catalogue import ZOO, PublishedNetwork, measured_pairs, read_index, read_published, scores_of

WEIGHTS: tuple[Weights, ...] = ("float", "binary")
INSTRUCTION_SETS = ("amx", "avx512", "avx2")  # folders of `make ratios`, and the workloads in them
TIMED = (*MODELS, *(f"{model}-body" for model in MODELS), "layer", "wide_layer")
ZOO_REMEDY = "restore it with git, or run `make publish`"


@dataclass(frozen=True)
class Point:
    """A point of a training curve, at a validation."""

    iteration: int
    loss: float  # the mean since the point before
    psnr_y: float


@dataclass(frozen=True)
class Evaluation:
    """One network (or bicubic interpolation) on one test set, by backend: the means, and each image's score."""

    means: dict[str, Quality]
    scores: Scores


@dataclass(frozen=True)
class PreparedIndex:
    """The contents of a prepared set: its name, its images and the hashes of its files."""

    set: str
    images: list[dict[str, Any]]
    sha256: dict[str, str]


@dataclass(frozen=True)
class Zoo:
    """The published networks.

    Attributes
    ----------
    models
        Those that have published scores.
    published, scores
        Their published means by method, set and backend, and each image's score by method and set, then by backend.
    histories
        Their training curves.
    search
        The short trainings from which their settings were chosen.
    here
        What this run measured with them, by test set.
    """

    models: list[PublishedNetwork]
    published: dict[str, dict[str, dict[str, Quality]]]
    scores: dict[tuple[str, str], Scores]
    histories: dict[str, list[Point]]
    search: list[SearchTrial]
    here: dict[str, PublishedRun]


@dataclass(frozen=True)
class Results:
    """All results of one run of the pipeline."""

    models: Sequence[str]
    scales: Sequence[int]
    test_sets: Sequence[str]
    trainings: dict[Run, TrainingRecord]
    histories: dict[Run, list[Point]]
    exports: dict[Run, Footprint]
    footprint: dict[Run, Footprint]
    bicubic: dict[tuple[str, int], Evaluation]
    evaluations: dict[tuple[str, Run], Evaluation]
    benchmarks: dict[tuple[str, int], NetworkBenchmark]
    layers: Layers
    benchmark_csv: str  # every time of the two above
    ratios: dict[str, dict[str, PublishedRatios]]  # those of `make ratios`, by instruction set and workload
    zoo: Zoo
    prepared: list[PreparedIndex]
    seconds: dict[str, float]  # the duration of every stage of this run that DVC has run, by DVC's name for it
    image_folder: Path
    pictures: dict[tuple[str, int], list[PictureRecord]]  # by test set and scale; below image_folder/<set>/x<scale>
    zoo_pictures: dict[tuple[str, int], list[PictureRecord]]  # of the published networks; below <set>/zoo/x<scale>

    @property
    def pairs(self) -> list[tuple[str, int]]:
        """Every model at every scale."""
        return [(model, scale) for model in self.models for scale in self.scales]


def read_results(root: Path, params: Params) -> Results:
    """Read the result files that a run by `params` must have, below the folder `root`.

    Raises
    ------
    InputError
        If a file is missing or malformed; names the first one.
    """
    results, models, scales, test_sets = root / "results", params.matrix.models, params.matrix.scales, params.data.test
    footprint = read_json(results / "footprint.json", dict[str, Footprint])
    zoo = read_zoo(root, test_sets)
    pairs = [(model, scale) for model in models for scale in scales]
    runs = [Run(model, scale, weights) for model, scale in pairs for weights in WEIGHTS]
    return Results(
        models=models,
        scales=scales,
        test_sets=test_sets,
        trainings={run: read_json(root / run.training_record, TrainingRecord) for run in runs},
        histories={run: read_csv(root / run.history, Point) for run in runs},
        exports={run: read_json(root / run.export_record, Footprint) for run in runs},
        footprint={
            run: footprint[run.name]
            for run in (Run(m, s, w) for m in MODELS for s in SCALES for w in WEIGHTS)
            if run.name in footprint
        },
        bicubic={
            (name, scale): _evaluation(results / "evaluate" / name / f"bicubic-x{scale}", "bicubic")
            for name in test_sets
            for scale in scales
        },
        evaluations={
            (name, run): _evaluation(results / "evaluate" / name / run.name, "torch")
            for name in test_sets
            for run in runs
        },
        benchmarks={
            (model, scale): read_json(results / "benchmark" / f"{model}-x{scale}.json", NetworkBenchmark)
            for model, scale in pairs
        },
        layers=read_json(results / "benchmark" / "layers.json", Layers),
        benchmark_csv=_joined(
            [results / "benchmark" / f"{name}.csv" for name in ("layers", *(f"{m}-x{s}" for m, s in pairs))]
        ),
        ratios=_ratios(root / "ratios"),
        zoo=zoo,
        seconds=_seconds(root, params),
        prepared=[read_json(root / prepared_folder(name) / "index.json", PreparedIndex) for name in params.data.sets],
        image_folder=results / "images",
        pictures=_pictures(results / "images", "", test_sets, scales),
        zoo_pictures=_pictures(
            results / "images", "zoo", test_sets, sorted({real.scale for real, _ in measured_pairs(zoo.models)})
        ),
    )


def _ratios(folder: Path) -> dict[str, dict[str, PublishedRatios]]:
    """Read the files in ``<folder>/<instruction set>/<workload>.json`` that are there."""
    return {
        isa: {
            name: read_json(path, PublishedRatios, "run `make ratios`")
            for name in TIMED
            if (path := folder / isa / f"{name}.json").exists()
        }
        for isa in INSTRUCTION_SETS
    }


def read_zoo(root: Path, test_sets: Sequence[str]) -> Zoo:
    """Read the published networks, their scores and trainings, and their times in the run's `test_sets`."""
    folder = root / ZOO
    scores = read_published(folder)
    published = {name: entry.sets for name, entry in scores.items() if entry.sha256 is None}
    networks = []
    for network in read_index(folder):
        sets = scores_of(network, scores)
        expected = published.get(f"bicubic-x{network.scale}", {})
        # Otherwise it is still being scored.
        if sets and expected and all("torch" in sets.get(name, {}) for name in expected):
            networks.append(network)
            published[network.name] = sets
    rows: dict[tuple[str, str], list[ScoreRow]] = {}
    for row in read_csv(folder / "results.csv", ScoreRow, ZOO_REMEDY):
        rows.setdefault((row.method, row.set), []).append(row)
    by_set = {key: by_backend(of_key) for key, of_key in rows.items()}
    histories = {
        network.name: read_csv(folder / "history" / f"{network.name}.csv", Point, ZOO_REMEDY)
        for network in networks
        if not network.imported
    }
    search = [read_json(path, SearchTrial, ZOO_REMEDY) for path in sorted((folder / "search").glob("*.json"))]
    here = {name: read_json(root / "results" / "zoo" / f"{name}.json", PublishedRun) for name in test_sets}
    return Zoo(networks, published, by_set, histories, search, here)


def _pictures(
    folder: Path, below: str, test_sets: Sequence[str], scales: Sequence[int]
) -> dict[tuple[str, int], list[PictureRecord]]:
    return {
        (name, scale): read_json(folder / name / below / f"x{scale}" / "pictures.json", list[PictureRecord])
        for name in test_sets
        for scale in scales
    }


def _seconds(root: Path, params: Params) -> dict[str, float]:
    """Return the durations of this run's matrix; the folder may hold those of earlier runs too."""
    parts = [list(map(str, items)) for items in (params.data.test, params.matrix.models, params.matrix.scales, WEIGHTS)]
    keys = [*([name] for name in params.data.sets), *product(*parts), *product(*parts[1:]), *product(*parts[1:3])]
    keys += [*product(parts[0], parts[2])]
    ours = {"-".join(key) for key in keys}
    return {
        path.stem: read_json(path, StageSeconds).seconds
        for path in sorted((root / seconds_file("any")).parent.glob("*.json"))
        if "@" not in path.stem or path.stem.split("@")[1] in ours
    }


def _evaluation(stem: Path, backend: str) -> Evaluation:
    path = stem.with_name(stem.name + ".json")
    means = read_json(path, dict[str, Quality])
    if backend not in means:
        raise InputError(f"{path}: {backend}: missing; delete it and {REMEDY}")
    return Evaluation(means, by_backend(read_csv(stem.with_name(stem.name + ".csv"), ScoreRow)))


def _joined(paths: Sequence[Path]) -> str:
    """Join tables with the same header."""
    tables = [read_text(path).splitlines(keepends=True) for path in paths]
    return "".join([*tables[0][:1], *(line for table in tables for line in table[1:])])
