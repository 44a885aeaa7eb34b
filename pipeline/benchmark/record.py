"""The measurements of one network, and of single layers, as the records that the stages write."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pipeline.benchmark import memory
from pipeline.benchmark.amdahl import engine_by_kind, where_time_goes
from pipeline.benchmark.backends import UnavailableError
from pipeline.benchmark.engines import POPCOUNT
from pipeline.benchmark.exports import Exports
from pipeline.benchmark.limits import load_rate
from pipeline.benchmark.measure import BACKENDS, TimingSettings, measure, rows
from pipeline.benchmark.runtimes import RUNTIMES
from pipeline.benchmark.workloads import Workload, body, chain, network
from pipeline.engine.modes import MODES
from pipeline.networks import NETWORKS
from pipeline.packed import write
from pipeline.records import LayerChain, Layers, Measurement, Memories, NetworkBenchmark

T = TypeVar("T")
CHAINS = {"layer": (64, 24), "wide_layer": (256, 8)}  # channels and layers; long, so that their ends hardly count
SCALED = (
    "torch_channels_last", "onnxruntime_float32", "onnxruntime_int8", "openvino_float32", "openvino_int8",
    "engine_float32", "engine_int8", "engine_int8_all", "engine_int6_all",
)  # fmt: skip
# Of parts of networks: PyTorch's compiler takes ten seconds for each, and another process runs whole networks alone.
OF_PARTS = tuple(name for name in BACKENDS if name not in ("torch_compile", "torch_avx2"))
LONGEST_MS = 5_000.0  # of one forward pass: a backend that would take longer skips larger images


def network_record(
    model: str,
    scale: int,
    overrides: Mapping[str, Any],
    binarization: Mapping[str, Any],
    size: tuple[int, int],
    sizes: list[int],
    settings: TimingSettings,
    environment: dict[str, Any],
) -> NetworkBenchmark:
    """Measure one network.

    Parameters
    ----------
    model, scale, overrides, binarization
        As for `pipeline.benchmark.workloads.network`.
    size : tuple of int
        Height and width of the LR image.
    sizes : list of int
        Sides of further, square LR images.
    settings : TimingSettings
    environment : dict
        See `pipeline.provenance.environment`.
    """
    whole = network(model, scale, overrides, binarization)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "body").mkdir()
        record = measure(whole, *size, settings, folder)
        return NetworkBenchmark(
            **vars(record),
            model=model,
            scale=scale,
            network=dict(overrides),
            parameters=sum(value.numel() for value in whole.real.parameters()),
            repeats=settings.repeats,
            body=measure(body(whole), *size, settings, folder / "body", OF_PARTS),
            amdahl=where_time_goes(whole, whole.input(*size), settings.threads, settings.repeats),
            engine_layers=_engine_layers(whole, size, settings),
            sizes=_over_sizes(whole, record, sizes, settings, folder),
            thread_counts=_over_threads(whole, record, settings, folder),
            memory=_memory(whole, size, settings, folder),
            environment=environment,
        )


def layers_record(
    binarization: Mapping[str, Any], size: tuple[int, int], settings: TimingSettings, environment: dict[str, Any]
) -> Layers:
    """Measure single layers in chains of them, and the limits of this machine."""
    chains = {}
    for name, (channels, layers) in CHAINS.items():
        with tempfile.TemporaryDirectory() as folder:
            record = measure(
                chain(channels, layers, binarization), *size, settings, Path(folder), (*OF_PARTS, *POPCOUNT)
            )
        chains[name] = LayerChain(**vars(record), channels=channels, layers=layers)
    return Layers(chains, load_rate(settings.threads), settings.repeats, environment)


def network_rows(record: NetworkBenchmark) -> list[dict[str, Any]]:
    """Return a row of a table for every time in a network's record."""
    about = {"model": record.model, "scale": record.scale}
    main = (record.lr_size, record.threads)
    others = [other for other in (*record.sizes, *record.thread_counts) if (other.lr_size, other.threads) != main]
    return [
        *rows(record, "network", **about),
        *rows(record.body, "body", **about),
        *(row for other in others for row in rows(other, "network", **about)),
    ]


def layers_rows(record: Layers) -> list[dict[str, Any]]:
    """Return a row of a table for every time in the record of single layers; times are of whole chains."""
    return [row for name, timed in record.pieces.items() for row in rows(timed, name, model="", scale="")]


def _engine_layers(whole: Workload, size: tuple[int, int], settings: TimingSettings) -> dict[str, dict[str, float]]:
    milliseconds = {}
    for name in MODES:
        try:
            milliseconds[name] = engine_by_kind(whole, whole.input(*size), name, settings.threads, settings.repeats)
        except UnavailableError:
            continue  # the reason is recorded with the network's times
    return milliseconds


def _over_sizes(
    whole: Workload, record: Measurement, sizes: list[int], settings: TimingSettings, folder: Path
) -> list[Measurement]:
    """Measure square images, from small to large."""
    measurements: list[Measurement] = []
    for side in sorted(sizes):
        if record.lr_size == (side, side):
            measurements.append(_only(record, SCALED))
            continue
        expected = {}
        if measurements:
            before = measurements[-1]
            growth = side**2 / before.lr_size[0] ** 2
            expected = {name: growth * times.median_ms for name, times in before.backends.items()}
            expected |= dict.fromkeys(before.missing, float("inf"))
        quick = [name for name in SCALED if expected.get(name, 0.0) <= LONGEST_MS]
        timed = measure(whole, side, side, settings, folder, quick)
        for name in (name for name in SCALED if name not in quick):
            left_out = f"left out: it would take about {expected[name] / 1000:.0f} s an image"
            timed.missing[name] = measurements[-1].missing.get(name, left_out)
        measurements.append(timed)
    return measurements


def _over_threads(whole: Workload, record: Measurement, settings: TimingSettings, folder: Path) -> list[Measurement]:
    """Measure on one thread to all."""
    height, width = record.lr_size
    fewer_threads = [replace(settings, threads=count) for count in range(1, settings.threads)]
    return [*(measure(whole, height, width, fewer, folder, SCALED) for fewer in fewer_threads), _only(record, SCALED)]


def _only(record: Measurement, names: Collection[str]) -> Measurement:
    """Return a measurement with only the backends in `names`."""

    def selected(by_name: Mapping[str, T]) -> dict[str, T]:
        return {name: value for name, value in by_name.items() if name in names}

    return replace(
        record,
        backends=selected(record.backends),
        missing=selected(record.missing),
        speedup={baseline: selected(ratios) for baseline, ratios in selected(record.speedup).items()},
        speedup_of_fastest={
            baseline: selected(ratios) for baseline, ratios in selected(record.speedup_of_fastest).items()
        },
    )


def _memory(whole: Workload, size: tuple[int, int], settings: TimingSettings, folder: Path) -> Memories:
    exports = Exports(whole.real, whole.calibration, folder)
    files = {}
    for name, (file, _) in RUNTIMES.items():
        try:
            files[name] = str(getattr(exports, file))
        except UnavailableError:
            continue  # its child process reports the reason
    write(whole.packed, folder / memory.PACKED)
    config: Any = whole.real.config
    request = {
        "config": config,
        "channels": NETWORKS[config["model"]].channels,
        "size": [side * whole.enlarged for side in size],
        "warm_up": memory.WARM_UP_SIZE * whole.enlarged,
        "threads": settings.threads,
        "files": files,
    }
    measured, missing = {}, {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # of processes: a peak does not depend on what runs beside it
        running = {name: pool.submit(memory.peak_memory, folder, name, request) for name in BACKENDS}
    for name, peak in running.items():
        try:
            measured[name] = peak.result()
        except UnavailableError as error:
            missing[name] = str(error)
    return Memories(size, measured, missing)
