"""`binsr bench`: time a network on this machine, from 8-bit pixels to 8-bit pixels."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import pipeline.benchmark  # noqa: F401  # before PyTorch: it sets how idle threads wait
from pipeline import labels
from pipeline.allocator import keep_freed_memory
from pipeline.benchmark.timing import alternate, ratios, summary
from pipeline.cli.networks import SelectedNetwork, find_network, zoo_folder
from pipeline.cli.output import note, number, print_json, print_table
from pipeline.engine import Engine
from pipeline.engine.modes import MODES
from pipeline.engine.runner import most_threads
from pipeline.errors import InputError, printable
from pipeline.provenance import cpu_model
from pipeline.records import TORCH
from pipeline.runs import Run
from pipeline.zoo.catalogue import read_index, twin_of

SECONDS = 10.0  # time limit of one backend, checked after three rounds
Image = np.typing.NDArray[np.uint8]


def show_bench(model: str | None, size: str, threads: int | None, repeats: int, as_json: bool) -> None:
    """Time a network and print the results.

    Raises
    ------
    InputError
        If there is no such network, or the size or the number of threads is invalid.
    """
    network = find_network(model)
    height, width = _size(size)
    threads = threads or most_threads()
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    runs, missing = _backends(network, image, threads)
    seconds = alternate(runs, repeats, budget=SECONDS)
    baseline = TORCH if TORCH in runs else "engine_float32"
    record: dict[str, Any] = {
        "model": network.name,
        "lr_size": [height, width],
        "threads": threads,
        "cpu": cpu_model(),
        "backends": {name: asdict(summary(values)) for name, values in seconds.items()},
        "baseline": baseline,
        "speedup": ratios(seconds, baseline),
        "missing": missing,
    }
    if as_json:
        print_json(record)
        return
    on = f"{labels.count(threads, 'thread')} of {record['cpu']}"
    print(f"{printable(network.name)}, LR image {height}×{width}, {on}\n")
    print_table(
        ["", "median, ms", "quartiles, ms", "repeats", f"speed-up over {labels.backend(baseline)}"],
        [
            [
                labels.backend(name),
                number(times["median_ms"], 2),
                f"{times['q1_ms']:.2f}–{times['q3_ms']:.2f}",
                str(times["repeats"]),
                number(record["speedup"][name], 2),
            ]
            for name, times in record["backends"].items()
        ],
    )
    for name, reason in missing.items():
        note(f"{labels.backend(name)}: {reason}")


def _backends(
    network: SelectedNetwork, image: Image, threads: int
) -> tuple[dict[str, Callable[[], Any]], dict[str, str]]:
    """Return the function that runs each backend, and for each backend that cannot run the reason."""
    runs: dict[str, Callable[[], Any]] = {}
    missing: dict[str, str] = {}
    try:
        runs[TORCH] = _torch(_float_twin(network), image, threads)
    except InputError as error:
        missing[TORCH] = str(error)
    for name, arguments in MODES.items():
        try:
            runs[name] = partial(Engine.load(network.path, **arguments, threads=threads).upscale, image)
        except InputError as error:
            if name == "engine_float32":
                raise
            missing[name] = str(error)
    return runs, missing


def _float_twin(network: SelectedNetwork) -> Path:
    if network.published is None:
        raise InputError("the float twin of a packed file is unknown; name a published network")
    zoo, model = zoo_folder(), network.published
    models = read_index(zoo)
    twin = model if model.weights == "float" else twin_of(model, models)
    if twin is None:  # the time does not depend on the training
        name = Run(model.model, model.scale, "float").name
        twin = next((other for other in models if other.name == name), None)
    if twin is None:
        raise InputError(f"the float twin of {network.name} is not published")
    return twin.path(zoo)


def _torch(path: Path, image: Image, threads: int) -> Callable[[], Image]:
    try:
        from pipeline.inference import channels_last, upscale
        from pipeline.packing import load
        from pipeline.threads import set_threads
    except ImportError as error:
        raise InputError("PyTorch is not installed; run: pip install torch") from error
    keep_freed_memory()
    set_threads(threads)
    return partial(upscale, channels_last(load(path)), image)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,3})[x×]([1-9]\d{0,3})", text)
    if match is None:
        raise InputError(f"--size: {text!r} is not a size; give HEIGHTxWIDTH, such as 270x480, each at most 9999")
    return int(match[1]), int(match[2])
