"""`binsr models`: list the published networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.cli.networks import zoo_folder
from pipeline.cli.output import number, print_json, print_table
from pipeline.records import Quality
from pipeline.zoo.catalogue import PublishedNetwork, PublishedScores, read_index, read_published, scores_of

BACKENDS = ("engine_int8", "torch")  # the first published one is shown: float networks have no int8 scores


def show_models(as_json: bool) -> None:
    """Print a table of the published networks."""
    zoo = zoo_folder()
    models, published = read_index(zoo), read_published(zoo)
    records = [_record(model, published) for model in models]
    if as_json:
        print_json({"zoo": str(zoo), "models": records})
        return
    sets = list(dict.fromkeys(name for record in records for name in record["psnr_y"]))
    print_table(
        ["network", "scale", "weights", "bytes", "iterations", *(f"{name}, dB" for name in sets)],
        [_row(record, sets) for record in records],
    )
    print("\nPSNR-Y: binary networks in the engine with int8 activations; all others in PyTorch.")
    if any(record["start"] is not None for record in records):
        print("+ Started from the weights of a float network, which `binsr info` names.")
    if any(record["short"] for record in records):
        print("* A short run, less than half of the paper's iterations: it does not show what the network can reach.")


def _record(model: PublishedNetwork, published: Mapping[str, PublishedScores]) -> dict[str, Any]:
    return {
        "name": model.name,
        "scale": model.scale,
        "weights": model.weights,
        "bytes": model.bytes,
        "iterations": model.iterations,
        "start": None if model.start is None else model.start["name"],
        "short": model.short,
        "psnr_y": {name: _score(backends) for name, backends in scores_of(model, published).items()},
    }


def _score(backends: Mapping[str, Quality]) -> float | None:
    return next((backends[name].psnr_y for name in BACKENDS if name in backends), None)


def _row(record: dict[str, Any], sets: list[str]) -> list[str]:
    trained = "imported" if record["iterations"] is None else f"{record['iterations']:,}"
    trained = ("" if record["start"] is None else "+ ") + trained
    return [
        record["name"],
        f"×{record['scale']}",
        record["weights"],
        f"{record['bytes']:,}",
        trained + (" *" if record["short"] else "  "),
        *(number(record["psnr_y"].get(name), 2) for name in sets),
    ]
