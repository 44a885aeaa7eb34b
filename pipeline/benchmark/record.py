"""All that is measured of one network, and of single layers, as the records that the stages write."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.benchmark import memory
from pipeline.benchmark.amdahl import engine_by_kind, where_time_goes
from pipeline.benchmark.backends import UnavailableError
from pipeline.benchmark.engines import POPCOUNT
from pipeline.benchmark.exports import Exports
from pipeline.benchmark.limits import load_rate
from pipeline.benchmark.measure import BACKENDS, Settings, measure, rows
from pipeline.benchmark.runtimes import RUNTIMES
from pipeline.benchmark.workloads import Workload, body, chain, network
from pipeline.engine.runner import MODES
from pipeline.packed import write

CHAINS = {"layer": (64, 24), "wide_layer": (256, 8)}  # name to channels and layers; long, for what is at their ends
SCALED = (
    "torch_channels_last", "onnxruntime_int8", "openvino_float32", "openvino_int8",
    "engine_float32", "engine_int8", "engine_int8_all", "engine_int6_all",
)  # fmt: skip
LONGEST_MS = 5_000.0  # of one forward pass: a backend that is expected to take longer sits out larger images


def network_record(
    model: str,
    scale: int,
    overrides: Mapping[str, Any],
    binarization: Mapping[str, Any],
    size: tuple[int, int],
    sizes: list[int],
    settings: Settings,
) -> dict[str, Any]:
    """Measure one network.

    Parameters
    ----------
    model, scale, overrides, binarization
        As for `pipeline.benchmark.workloads.network`.
    size : tuple of int
        Height and width of the LR image.
    sizes : list of int
        Sides of further, square LR images.
    settings : Settings

    Returns
    -------
    dict
        What `measure` gives for the whole network, its ``parameters``, and: ``body`` (what `measure` gives for the
        residual blocks), ``amdahl`` (`where_time_goes`), ``engine_layers`` (engine to `engine_by_kind`), ``sizes``
        and ``thread_counts`` (lists of what `measure` gives), ``memory`` (``lr_size``, ``backends``: name to
        `peak_memory`, ``missing``: name to the reason).
    """
    whole = network(model, scale, overrides, binarization)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "body").mkdir()
        record = measure(whole, *size, settings, folder)
        return {
            **record,
            "parameters": sum(value.numel() for value in whole.real.parameters()),
            "body": measure(body(whole), *size, settings, folder / "body"),
            "amdahl": where_time_goes(whole, whole.input(*size), settings.threads, settings.repeats),
            "engine_layers": _engine_layers(whole, size, settings),
            "sizes": _over_sizes(whole, record, sizes, settings, folder),
            "thread_counts": _over_threads(whole, record, settings, folder),
            "memory": _memory(whole, size, settings, folder),
        }


def layers_record(binarization: Mapping[str, Any], size: tuple[int, int], settings: Settings) -> dict[str, Any]:
    """Measure single layers in chains of them.

    Returns
    -------
    dict
        ``pieces``: by name, what `measure` gives for the chain, with ``channels`` and ``layers`` (its length);
        ``machine_limit``: how fast this machine can do what the engine's kernels consist of, see
        `pipeline.benchmark.limits.load_rate`.
    """
    pieces = {}
    for name, (channels, layers) in CHAINS.items():
        with tempfile.TemporaryDirectory() as folder:
            record = measure(
                chain(channels, layers, binarization), *size, settings, Path(folder), (*BACKENDS, *POPCOUNT)
            )
        pieces[name] = {"channels": channels, "layers": layers, **record}
    return {"pieces": pieces, "machine_limit": load_rate(settings.threads)}


def network_rows(record: Mapping[str, Any], model: str, scale: int) -> list[dict[str, Any]]:
    """Every time in a network's record as a row of a table."""
    about = {"model": model, "scale": scale}
    further = [*record["sizes"], *record["thread_counts"]]
    own = (record["lr_size"], record["threads"])
    return [
        *rows(record, "network", **about),
        *rows(record["body"], "body", **about),
        *(
            row
            for other in further
            if (other["lr_size"], other["threads"]) != own
            for row in rows(other, "network", **about)
        ),
    ]


def layers_rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every time in the record of single layers as a row of a table; times are of whole chains."""
    return [row for name, piece in record["pieces"].items() for row in rows(piece, name, model="", scale="")]


def _engine_layers(whole: Workload, size: tuple[int, int], settings: Settings) -> dict[str, dict[str, float]]:
    found = {}
    for name in MODES:
        try:
            found[name] = engine_by_kind(whole, whole.input(*size), name, settings.threads, settings.repeats)
        except UnavailableError:
            continue  # the reason stands beside the network's times
    return found


def _over_sizes(
    whole: Workload, record: dict[str, Any], sizes: list[int], settings: Settings, folder: Path
) -> list[dict[str, Any]]:
    """Square images, from small to large."""
    found: list[dict[str, Any]] = []
    for side in sorted(sizes):
        if record["lr_size"] == [side, side]:
            found.append(_only(record, SCALED))
            continue
        expected = {}
        if found:
            before = found[-1]
            growth = side**2 / before["lr_size"][0] ** 2
            expected = {name: growth * times["median_ms"] for name, times in before["backends"].items()}
            expected |= dict.fromkeys(before["missing"], float("inf"))
        quick = [name for name in SCALED if expected.get(name, 0.0) <= LONGEST_MS]
        timed = measure(whole, side, side, settings, folder, quick)
        for name in (name for name in SCALED if name not in quick):
            left_out = f"left out: it would take about {expected[name] / 1000:.0f} s an image"
            timed["missing"][name] = found[-1]["missing"].get(name, left_out)
        found.append(timed)
    return found


def _over_threads(whole: Workload, record: dict[str, Any], settings: Settings, folder: Path) -> list[dict[str, Any]]:
    """From one thread to all."""
    height, width = record["lr_size"]
    fewer = [replace(settings, threads=count) for count in range(1, settings.threads)]
    return [*(measure(whole, height, width, less, folder, SCALED) for less in fewer), _only(record, SCALED)]


def _only(record: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """A measurement's part that is about some of its backends."""
    parts = {key: {n: v for n, v in record[key].items() if n in names} for key in ("backends", "missing")}
    speeds = {
        baseline: {name: ratio for name, ratio in ratios.items() if name in names}
        for baseline, ratios in record["speedup"].items()
        if baseline in names
    }
    return record | parts | {"speedup": speeds}


def _memory(whole: Workload, size: tuple[int, int], settings: Settings, folder: Path) -> dict[str, Any]:
    exports = Exports(whole.real, whole.calibration, folder)
    files = {}
    for name, (file, _) in RUNTIMES.items():
        try:
            files[name] = str(getattr(exports, file))
        except UnavailableError:
            continue  # its child says so again
    write(whole.packed, folder / memory.PACKED)
    config: Any = whole.real.config
    memory.write_request(folder, config, whole.enlarged, *size, settings.threads, files)
    measured, missing = {}, {}
    for name in BACKENDS:
        try:
            measured[name] = memory.peak_memory(folder, name)
        except UnavailableError as error:
            missing[name] = str(error)
    return {"lr_size": list(size), "backends": measured, "missing": missing}
