"""Measure the ranges of the published binary networks again, as after a change of the calibration.

The weights stay as they are, and with them the scores of PyTorch and of the engine's modes that do not round; those of
the other modes are dropped, and `make publish` makes them anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.data.prepared import PreparedSet
from pipeline.data.ready import ready
from pipeline.exporting import calibrated
from pipeline.packed import read, write
from pipeline.params import Params, load_params
from pipeline.program import run_program
from pipeline.records import EXACT_MODES
from pipeline.runs import prepared_folder
from pipeline.zoo.catalogue import (
    ZOO,
    PublishedNetwork,
    PublishedScores,
    chosen_networks,
    read_index,
    read_published,
    scores_of,
    write_index,
    write_published,
)

UNAFFECTED = ("torch", *EXACT_MODES)
MODE = ("activations", "float_layers")
TOLERANCE = 1e-3  # channels' ranges have four digits


def recalibrate(zoo: Path, params: Params, models: Sequence[str] | None = None) -> None:
    """Rewrite the files whose ranges or default mode change, with their hashes and scores: all, or the named ones."""
    for name in (params.data.train, params.data.validation):
        ready(name, params.data.mirror)
    for network in chosen_networks(zoo, models) if models else read_index(zoo):
        if network.weights == "binary":
            changed = _rewritten(network, zoo, params)
            print(f"{network.name}: {'other ranges' if changed else 'as before'}", flush=True)


def _rewritten(network: PublishedNetwork, zoo: Path, params: Params) -> bool:
    """Write a network with the ranges that its calibration gives now; return whether they are others.

    If an earlier call was killed after it wrote the file, this one completes its work.
    """
    path = zoo / network.file
    before = read(path)
    images = PreparedSet.open(prepared_folder(params.data.validation))
    after = calibrated(
        before,
        params.export,
        PreparedSet.open(prepared_folder(network.training.get("training_set", params.data.train))),
        images.pairs(params.data.validation_images, (network.scale,)),
        network.training.get("seed", params.seed),
    )
    if _same(before.metadata.get("activations"), after.metadata["activations"]) and all(
        (before.metadata.get("mode") or {}).get(field) == after.metadata["mode"][field] for field in MODE
    ):
        if sha256(path.read_bytes()).hexdigest() == network.sha256:
            return False
    else:
        write(after, path)
    published = read_published(zoo)
    if scores := scores_of(network, published):
        kept = {test_set: {by: means[by] for by in UNAFFECTED if by in means} for test_set, means in scores.items()}
        published[network.name] = PublishedScores(sha256(path.read_bytes()).hexdigest(), kept)
        write_published(zoo, published)
    write_index(zoo)
    return True


def _same(a: Any, b: Any) -> bool:
    """Compare ranges, but for rounding: kernels for other processors add up in another order."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b or (isinstance(a, float) and isinstance(b, float) and math.isclose(a, b, rel_tol=TOLERANCE))


def main(
    params_file: Annotated[
        Path, typer.Option("--params", help="A whole params file, as python -m pipeline.profiles writes it.")
    ] = Path("zoo", "cpu.yaml"),
    zoo: Annotated[Path, typer.Option(help="The zoo's folder.")] = ZOO,
    models: Annotated[list[str] | None, typer.Option(metavar="NAME…", help="Default: all binary ones.")] = None,
) -> None:
    recalibrate(zoo, load_params(params_file), models)


if __name__ == "__main__":
    run_program(main)
