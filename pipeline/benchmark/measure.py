"""Measurement of all backends on one workload: each is checked, then all are timed in turns in one process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.allocator import keep_freed_memory
from pipeline.benchmark import engines
from pipeline.benchmark.backends import Backend, UnavailableError, one_line
from pipeline.benchmark.baselines import PEERS
from pipeline.benchmark.engines import ENGINES
from pipeline.benchmark.exports import Exports
from pipeline.benchmark.instruction_sets import NOT_HELD, TITLES, held
from pipeline.benchmark.timing import alternate, ratios, summary
from pipeline.benchmark.workloads import Workload
from pipeline.engine.modes import MODES
from pipeline.errors import InputError
from pipeline.records import FLOAT32, INT8, CheckedTiming, Measurement

BACKENDS = (*PEERS, *MODES)  # of networks
FLOAT_SNR_DB = 60.0  # float32 backends differ by rounding only, some 100 dB below the signal
INTEGER_SNR_DB = 10.0  # a lower ratio means that the output is wrong
MOST_SNR_DB = 200.0  # reported for equal outputs


@dataclass(frozen=True)
class TimingSettings:
    """How to measure: threads, rounds, and the seconds after which a backend skips further rounds."""

    threads: int
    repeats: int
    seconds: float


def measure(
    workload: Workload,
    height: int,
    width: int,
    settings: TimingSettings,
    folder: Path,
    names: Collection[str] = BACKENDS,
) -> Measurement:
    """Time backends on one workload.

    Parameters
    ----------
    workload : Workload
    height, width : int
        Of the LR image.
    settings : TimingSettings
    folder : Path
        The folder of the workload's exported files; the same for the same workload.
    names : collection of str
        The backends to time, from `PEERS` and `ENGINES`.
    """
    keep_freed_memory()
    x = workload.input(height, width)
    expected = {
        module: _output(module, x)  # only where it is needed: outputs may be large
        for module in {workload.binary if name in ENGINES else workload.real for name in names}
    }
    exports = Exports(workload.real, workload.calibration, folder)
    ready: dict[str, Backend] = {}
    quality: dict[str, float] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            ready[name] = build(name, workload, exports, x, settings.threads)
            quality[name] = _checked(ready[name], name, expected[workload.binary if name in ENGINES else workload.real])
        except UnavailableError as error:
            ready.pop(name, None)
            missing[name] = str(error)
    runs = {name: backend.run for name, backend in ready.items()}
    try:
        seconds = alternate(runs, settings.repeats, warmup=0, budget=settings.seconds)  # the check was the warm-up
    except UnavailableError as error:
        raise InputError(f"a backend could not be timed to the end: {error}; run it again") from error
    return Measurement(
        lr_size=(height, width),
        threads=settings.threads,
        backends={
            name: CheckedTiming(**vars(summary(values)), snr_db=quality[name], precision=ready[name].precision)
            for name, values in seconds.items()
        },
        missing=missing,
        speedup=speedup(seconds),
        speedup_of_fastest=speedup({name: [min(values)] for name, values in seconds.items()}),
    )


def build(name: str, workload: Workload, exports: Exports, x: NDArray[np.float32], threads: int) -> Backend:
    """Return one backend, ready for one input.

    Raises
    ------
    UnavailableError
        If it cannot run here: a package is missing or a tool failed.
    """
    if name in ENGINES:
        return engines.bind(name, engines.load(name, workload.packed, workload.architecture, threads), x)
    if (isa := held()) and name.startswith(NOT_HELD):
        raise UnavailableError(f"cannot be held to {TITLES[isa]}")
    try:
        return PEERS[name](exports, x, threads)
    except UnavailableError:
        raise
    except Exception as error:  # other tools may raise anything; the rest can still be measured
        raise UnavailableError(f"failed: {type(error).__name__}: {one_line(error)}") from error


def speedup(seconds: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Return, for each timed baseline, how many times as fast each backend is (see `timing.ratios`)."""
    return {baseline: ratios(seconds, baseline) for baseline in (*FLOAT32, INT8) if baseline in seconds}


def rows(record: Measurement, workload: str, **about: Any) -> list[dict[str, Any]]:
    """Return a measurement as rows of a table: one for each backend, with the reason for a missing one.

    Each row begins with `about` and the name of the workload.
    """
    columns = ("median_ms", "min_ms", "q1_ms", "q3_ms", "max_ms", "repeats", "snr_db", "precision")
    return [
        {
            **about,
            "piece": workload,
            "lr_height": record.lr_size[0],
            "lr_width": record.lr_size[1],
            "threads": record.threads,
            "backend": name,
            **{column: getattr(record.backends.get(name), column, None) for column in columns},
            "fastest_float32": record.baseline,
            "speedup_over_fastest_float32": record.speed(name),
            f"speedup_over_{INT8}": record.speed(name, INT8),
            "missing": record.missing.get(name),
        }
        for name in (*record.backends, *record.missing)
    ]


def _output(module: nn.Module, x: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return module(torch.from_numpy(x)[None])[0].numpy()


def _checked(backend: Backend, name: str, expected: NDArray[np.float32]) -> float:
    """Return the ratio of signal to error of a backend's output, in dB; refuse an output that is wrong."""
    try:
        output = backend.run()
    except Exception as error:  # as in `build`
        if name in ENGINES or isinstance(error, UnavailableError):
            raise
        raise UnavailableError(f"failed: {type(error).__name__}: {one_line(error)}") from error
    signal = np.square(expected, dtype=np.float64).sum()
    difference = np.square(output.astype(np.float64) - expected).sum()
    snr = float(10 * np.log10(signal / max(difference, signal / 10 ** (MOST_SNR_DB / 10))))
    if name == "engine_int1_popcount":  # binarizes the activations too: not the same network
        return round(snr, 1)
    least = FLOAT_SNR_DB if name.startswith("torch") or name.endswith("float32") else INTEGER_SNR_DB
    if not snr >= least:
        raise UnavailableError(f"wrong output: {snr:.1f} dB of signal to error against PyTorch, below {least:.0f} dB")
    return round(snr, 1)
