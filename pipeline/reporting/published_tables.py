"""The tables of the published networks: their scores, what binarization costs them, the ablation, their training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from pipeline import labels
from pipeline.params import Thresholds
from pipeline.records import TORCH, Quality
from pipeline.reporting.columns import (
    COUNT,
    NETWORK,
    QUALITY,
    RUN_BY,
    WEIGHTS_COLUMN,
    gap_kind,
    level,
    weights_cell,
)
from pipeline.reporting.gaps import PairGap, published_gaps
from pipeline.reporting.published import published
from pipeline.reporting.results import Zoo
from pipeline.reporting.speed_claim import times
from pipeline.runs import MODELS
from pipeline.tables import Column, Table, table
from pipeline.zoo.catalogue import IMPORTED, LONG, PublishedNetwork, compared_pairs, seed_pairs, twin_of

ABLATION = set(labels.VARIANTS) - {IMPORTED, LONG}
SHOWN = {"torch": "PyTorch", "engine_int8": "engine int8"}
Rows = Iterator[dict[str, Any]]


def score_tables(zoo: Zoo, limits: Thresholds) -> list[Table]:
    """Return a table of published scores for every scale; gaps are called small or large by the verdict's `limits`."""
    tables = []
    for scale in sorted({model.scale for model in zoo.models}):
        sets = list(zoo.published[f"bicubic-x{scale}"])
        columns = {
            "network": NETWORK,
            "weights": WEIGHTS_COLUMN,
            "by": Column("run by", css="by"),
            "iterations": Column("iterations", css="n"),
            **{name: level(name, css="n strong", note="note") for name in sets},
        }
        rows = list(_score_rows(zoo, scale, sets, limits))
        title = f"×{scale}, as published"
        tables.append(table(f"published-x{scale}", title, columns, rows, grouped=True))
    return tables


def gap_table(zoo: Zoo, limits: Thresholds) -> Table:
    """Return the gaps of every pair with their intervals; after several seeds their mean with its range."""
    rows = []
    for real, binary in compared_pairs(zoo.models):
        network = labels.network(binary.model, binary.scale, binary.variant)
        row: dict[str, Any] = {"pair": network, "iterations": binary.trained}
        for gap in published_gaps(zoo, [(real, binary)]):
            row |= _gap_cell(gap, limits)
        rows.append(row)
    for (model, scale), several in seed_pairs(zoo.models).items():
        if len(several) > 1:
            row = {"pair": f"{labels.network(model, scale)}, mean of {len(several)} seeds", "iterations": ""}
            gaps: dict[str, list[float]] = {}
            for gap in published_gaps(zoo, several):
                gaps.setdefault(gap.test_set, []).append(gap.gap.psnr_y)
            for name, levels in gaps.items():
                ends = f"{labels.number(min(levels), 2)} to {labels.number(max(levels), 2)}"
                row |= {name: sum(levels) / len(levels), f"{name}.note": ends}
            rows.append(row)
    sets = dict.fromkeys(name for model in zoo.models for name in zoo.published[model.name])
    columns = {"pair": Column("pair"), "iterations": Column("iterations", css="n")}
    columns |= {name: level(name, css="n strong", note="interval") for name in sets}
    return table("gaps", "What binarization costs", columns, rows)


def ablation_tables(zoo: Zoo) -> list[Table]:
    """Return a table for every pair that has variants, binarized or trained differently by the same profile.

    Its first rows are the pair of seed 0; changes are from its binary network.
    """
    tables = []
    order = {variant: number for number, variant in enumerate(labels.VARIANTS)}
    for several in seed_pairs(zoo.models).values():
        real, base = several[0]
        variants = [model for model in zoo.models if _network(model) == _network(base) and model.variant in ABLATION]
        if not variants:
            continue
        variants.sort(key=lambda model: order[model.variant])
        scores = zoo.published
        sets = [name for name in scores[base.name] if all(name in scores[model.name] for model in variants)]
        titles = {real.name: "float", base.name: "learnable filter scale, residual blocks (the paper)"}
        rows = []
        for model in [real, base, *variants]:
            trained = f"{real.trained} + {model.trained}" if model.start else model.trained
            title = titles.get(model.name, labels.variant(model.variant))
            row: dict[str, Any] = {"binarized": title, "iterations": trained, "bytes": model.bytes}
            for name in sets:
                row |= _score_cell(name, scores[model.name][name]["torch"], scores[base.name][name]["torch"])
            rows.append(row)
        columns = {
            "binarized": Column("binarized"),
            "iterations": Column("iterations", css="n"),
            "bytes": Column("file, bytes", COUNT, "n"),
        }
        columns |= {name: level(name, css="n strong", note="change") for name in sets}
        title = f"Ablation, {labels.network(base.model, base.scale)}"
        tables.append(table(f"ablation-{base.model}-x{base.scale}", title, columns, rows))
    return tables


def quality_table(zoo: Zoo) -> Table:
    """Return the scores of every published network in every way of running it."""
    columns = {"network": NETWORK, "by": RUN_BY, "set": Column("test set"), **QUALITY}
    rows = [
        {"network": method, "by": backend, "set": name, **vars(quality)}
        for method, sets in zoo.published.items()
        for name, backends in sets.items()
        for backend, quality in backends.items()
    ]
    return table("published-scores", "Published scores", columns, rows)


def training_table(zoo: Zoo) -> Table:
    """Return how each published network was trained."""
    columns = {
        "network": NETWORK,
        "bytes": Column("bytes", COUNT, "n"),
        "training_set": Column("training set"),
        "iterations": Column("iterations", COUNT, "n"),
        "batch": Column("batch", css="n"),
        "lr_patch": Column("LR patch", css="n"),
        "start": Column("start"),
        "seed": Column("seed", css="n"),
        "precision": Column("precision"),
        "hardware": Column("hardware"),
        "seconds": Column("time", labels.duration, "n"),
        "cpu_seconds": Column("core-hours", lambda seconds: labels.number(seconds / 3600, 2), "n"),
        "profile": Column("profile"),
        "commit": Column("commit", css="code"),
        "sha256": Column("SHA-256", css="code"),
    }
    rows = []
    for model in zoo.models:
        training, origin = model.training, model.imported
        row = {"network": model.name, "bytes": model.bytes, "profile": model.profile, "sha256": f"{model.sha256[:16]}…"}
        row |= {key: training.get(key) for key in columns if key not in (*row, "start", "hardware", "commit")}
        if origin is not None:
            row |= {"training_set": origin["file"], "training_set.link": origin["address"]}
            row |= {"training_set.note": f"imported, {origin['licence']}"}
        else:
            threads = labels.count(training["threads"], "thread")
            row["hardware"] = f"{training['device']}, {threads}"
            row["start"] = model.start["name"] if model.start else "fresh"
        environment = training["environment"]
        row["commit"] = (environment["commit"] or "unknown")[:10]
        rows.append(row | ({"commit.note": "with changes"} if environment["dirty"] else {}))
    return table("published-training", "How the published networks were trained", columns, rows)


def run_tables(zoo: Zoo) -> list[Table]:
    """Return what this run measured of the published networks, for each of its test sets."""
    columns = {
        "network": NETWORK,
        "bicubic": level("bicubic"),
        "torch": level("PyTorch", css="n strong"),
        "gain": level("gain", signed=True),
        "int8": level("engine int8"),
        "published": level("as published"),
        "size": Column("LR image timed"),
        "float_ms": Column("float, PyTorch", labels.milliseconds, "n"),
        "engine_ms": Column("binary, engine", labels.milliseconds, "n"),
        "ratio": Column("ratio", times, "n strong"),
    }
    tables = []
    for name, run in zoo.here.items():
        timed = next(iter(run.times.values()), None)
        on = "" if timed is None else f"; times with {labels.count(timed.threads, 'thread')}"
        rows = [_run_row(zoo, name, model) for model in zoo.models if model.name in run.methods]
        shown = {key: column for key, column in columns.items() if any(key in row for row in rows)}
        title = f"Published networks on {name}"
        tables.append(table(f"published-on-{name}", title, shown, rows, caption=f"{name}{on}"))
    return tables


def _network(model: PublishedNetwork) -> tuple[Any, ...]:
    """Return what the networks of an ablation have in common."""
    return model.model, model.scale, model.profile


def _gap_cell(pair: PairGap, limits: Thresholds) -> dict[str, Any]:
    gap, name = pair.gap, pair.test_set
    if not isfinite(gap.high):
        return {name: gap.psnr_y, f"{name}.note": "one image"}
    ends = f"{labels.number(gap.low, 2)} to {labels.number(gap.high, 2)}"
    return {name: gap.psnr_y, f"{name}.note": ends, f"{name}.kind": gap_kind(gap.high, limits)}


def _score_cell(name: str, quality: Quality, base: Quality | None, limits: Thresholds | None = None) -> dict[str, Any]:
    """Return PSNR-Y on a set and its distance from another network's; `limits` tell whether it is small or large."""
    if base is None or base is quality:
        return {name: quality.psnr_y}
    gap = base.psnr_y - quality.psnr_y
    kind = "" if limits is None else gap_kind(gap, limits)
    return {name: quality.psnr_y, f"{name}.note": labels.number(-gap, 2, signed=True), f"{name}.kind": kind}


def _score_rows(zoo: Zoo, scale: int, sets: Sequence[str], limits: Thresholds) -> Rows:
    bicubic = {name: zoo.published[f"bicubic-x{scale}"][name]["bicubic"].psnr_y for name in sets}
    yield {"network": "Bicubic", "weights": "", "by": "", "iterations": "", **bicubic}
    yield from _source_rows(scale, sets, None)
    models = [model for model in zoo.models if model.scale == scale and model.variant not in ABLATION]
    models.sort(key=lambda m: (MODELS.index(m.model), m.variant))
    for model, following in zip(models, [*models[1:], None], strict=True):
        scores, real = zoo.published[model.name], twin_of(model, zoo.models)
        above: Mapping[str, Any] = {} if real is None else zoo.published[real.name]
        network = labels.model(model.model) + (f", {labels.variant(model.variant)}" if model.variant else "")
        trained = {"iterations": model.trained} | ({"iterations.note": "short run"} if model.short else {})
        for backend, by in SHOWN.items():
            if all(backend in scores.get(name, {}) for name in sets):
                row = {"network": network, "by": by, "iterations": "", **weights_cell(model.weights), **trained}
                for name in sets:
                    base = above[name]["torch"] if name in above else None
                    row |= _score_cell(name, scores[name][backend], base, limits)
                yield row
                trained = {}
        if following is None or following.model != model.model:
            yield from _source_rows(scale, sets, model.model)


def _source_rows(scale: int, sets: Sequence[str], model: str | None) -> Rows:
    channels = {"y": "", "rgb": "RGB", None: "Y or RGB"}
    rows: dict[str, dict[str, Any]] = {}
    for name in sets:
        for entry in published(name, scale, model):
            row = rows.setdefault(entry.source, {"network": entry.source, "row.kind": "published", "iterations": ""})
            row |= {name: entry.psnr, f"{name}.note": channels[entry.channel]}
    yield from rows.values()


def _run_row(zoo: Zoo, test_set: str, model: PublishedNetwork) -> dict[str, Any]:
    run = zoo.here[test_set]
    scores, timed = run.methods[model.name], run.times.get(model.name)
    bicubic, torch = run.methods[f"bicubic-x{model.scale}"]["bicubic"].psnr_y, scores["torch"].psnr_y
    row: dict[str, Any] = {"network": model.name, "bicubic": bicubic, "torch": torch, "gain": torch - bicubic}
    if "engine_int8" in scores:
        row["int8"] = scores["engine_int8"].psnr_y
    if test_set in zoo.published[model.name]:
        row["published"] = zoo.published[model.name][test_set]["torch"].psnr_y
    if timed is not None:
        row["float_ms"], row["engine_ms"] = (timed.backends[n].median_ms for n in (TORCH, "engine_int8"))
        row |= {"size": "×".join(map(str, timed.lr_size)), "ratio": timed.speedup["engine_int8"]}
    return row
