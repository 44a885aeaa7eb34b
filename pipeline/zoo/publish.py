"""Update the zoo's index, scores, gaps and model cards for the networks in its folder.

A network without scores, or with scores of another file, is run on the test sets by every backend.
"""

from __future__ import annotations

import csv
import io
import os
from concurrent.futures import as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.data.prepared import PreparedSet
from pipeline.data.ready import ready
from pipeline.errors import InputError
from pipeline.evaluation.processes import one_thread_each
from pipeline.evaluation.protocol import Score
from pipeline.files import write_csv, write_json
from pipeline.program import run_program
from pipeline.runs import prepared_folder
from pipeline.zoo.cards import write_cards
from pipeline.zoo.catalogue import ZOO, Model, read_published, write_index
from pipeline.zoo.gaps import gap_table
from pipeline.zoo.scores import bicubic_scores, mean_scores, model_scores

TEST_SETS = ("Set5", "Set14", "B100", "Urban100")


def publish(zoo: Path, sets: tuple[str, ...], mirror: str | None) -> None:
    """Score networks that have no scores yet, one per processor core, and write all files that depend on them."""
    if not any(zoo.glob("*.safetensors")):
        raise InputError(f"{zoo}: holds no trained network; train one with `make train`")
    models = write_index(zoo)
    published = read_published(zoo) if (zoo / "results.json").exists() else {}
    rows = _rows(zoo / "results.csv")
    hashes: dict[str, Any] = {f"bicubic-x{scale}": None for scale in sorted({model.scale for model in models})}
    hashes |= {model.name: model.sha256 for model in models}
    by_name = {model.name: model for model in models}
    results = {name: entry for name, entry in published.items() if hashes.get(name, "none") == entry["sha256"]}
    rows = [row for row in rows if row["method"] in results]
    for name, sha256 in hashes.items():
        results.setdefault(name, {"sha256": sha256, "sets": {}})
    missing = [(name, test_set) for name in hashes for test_set in sets if test_set not in results[name]["sets"]]
    for test_set in dict.fromkeys(test_set for _, test_set in missing):
        ready(test_set, mirror)
    with one_thread_each(max(1, min(os.cpu_count() or 1, len(missing)))) as pool:
        running = {
            pool.submit(_scores, name, by_name.get(name), test_set, zoo): (name, test_set) for name, test_set in missing
        }
        for done in as_completed(running):
            name, test_set = running[done]
            scores = done.result()
            print(f"{name} on {test_set}", flush=True)
            results[name]["sets"][test_set] = mean_scores(scores)
            rows += [_row(name, test_set, backend, score) for backend, by_image in scores.items() for score in by_image]
            _write(zoo, results, rows, list(hashes))
    _write(zoo, results, rows, list(hashes))
    gaps = gap_table(models, rows)
    if gaps:
        write_csv(zoo / "gaps.csv", gaps)
    else:
        (zoo / "gaps.csv").unlink(missing_ok=True)
    write_cards(zoo, models, results, gaps)


def _scores(name: str, model: Model | None, test_set: str, zoo: Path) -> dict[str, list[Score]]:
    images = PreparedSet.open(prepared_folder(test_set))
    if model is None:
        return {"bicubic": bicubic_scores(images, int(name.removeprefix("bicubic-x")))}
    return model_scores(model, images, zoo)


def _write(zoo: Path, results: dict[str, Any], rows: list[dict[str, Any]], order: list[str]) -> None:
    """Write the scores so far, ordered by network and test set, whichever finished first."""
    positions = {name: position for position, name in enumerate((*order, *TEST_SETS))}
    rows.sort(key=lambda row: (positions[row["method"]], positions.get(row["set"], len(positions)), row["set"]))
    write_csv(zoo / "results.csv", rows)
    methods = {
        name: results[name]
        | {"sets": dict(sorted(results[name]["sets"].items(), key=lambda item: positions.get(item[0], len(positions))))}
        for name in order
    }
    write_json(zoo / "results.json", {"format": 1, "methods": methods})


def _row(method: str, test_set: str, backend: str, score: Score) -> dict[str, Any]:
    values = {key: round(value, 5) if isinstance(value, float) else value for key, value in asdict(score).items()}
    return {"method": method, "set": test_set, "backend": backend, **values}


def _rows(path: Path) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))) if path.exists() else []


def main(
    zoo: Annotated[Path, typer.Option(help="The zoo's folder.")] = ZOO,
    sets: Annotated[
        list[str] | None, typer.Option(metavar="NAME…", help="Test sets. Default: the four standard ones.")
    ] = None,
) -> None:
    if not zoo.is_dir():
        raise InputError(f"{zoo}: no such folder; train a network with `make train`")
    publish(zoo, tuple(sets or TEST_SETS), os.environ.get("SR_MIRROR"))


if __name__ == "__main__":
    run_program(main)
