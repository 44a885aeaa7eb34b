"""`binsr models`: the published networks."""

from __future__ import annotations

from typing import Any

from pipeline.cli.networks import zoo_folder
from pipeline.cli.output import number, print_json, print_table
from pipeline.zoo.catalogue import Model, Published, read_index, read_published, scores_of

BACKENDS = ("engine_int8", "torch")  # the first that was published: binary networks run in int8, float ones do not


def show_models(as_json: bool) -> None:
    """Print the published networks."""
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
    print("\nPSNR-Y of binary networks by the engine with int8 activations, of float ones by PyTorch.")
    if any(record["start"] is not None for record in records):
        print("+ From the weights of a float network: `binsr info` says of which.")
    if any(record["short"] for record in records):
        print("* A short run, less than half of its paper's iterations: no measure of what the network can reach.")


def _record(model: Model, published: Published) -> dict[str, Any]:
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


def _score(backends: dict[str, dict[str, float]]) -> float | None:
    return next((backends[name]["psnr_y"] for name in BACKENDS if name in backends), None)


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
