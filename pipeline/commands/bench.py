"""Time the engine and other runtimes on this machine, on one network or on single layers, and print a table.

Run it from the repository's root: networks, image, threads and repeats are those of params.yaml unless options change
them. The backends and the timing are those of `pipeline.benchmark`.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import pipeline.benchmark  # noqa: F401  # first: it sets how idle threads wait
from pipeline.benchmark.instruction_sets import TITLES, InstructionSet, held, hold
from pipeline.errors import InputError
from pipeline.files import check_writable, write_json
from pipeline.params import Params, load_params
from pipeline.provenance import environment
from pipeline.records import INT8, Measurement
from pipeline.runs import MODELS, Model, Scale

Layer = Literal["layer", "wide_layer"]
Measured = Literal[Model, Layer]
LAYERS: dict[str, str] = {"layer": "a 64→64 3×3 layer", "wide_layer": "a 256→256 3×3 layer"}
SMALLEST = 16  # pixels of an image's side
FASTEST_FLOAT32 = "fastest_float32"  # runtime, of those that were timed in a run


def main(
    model: Annotated[Measured, typer.Option()] = MODELS[0],
    body: Annotated[
        bool, typer.Option("--body", help="Only the network's residual blocks (VDSR's inner layers).")
    ] = False,
    scale: Annotated[Scale, typer.Option(help="Of the network; ignored for single layers.")] = 2,
    size: Annotated[str | None, typer.Option(help="Size of the LR image: a side, or HEIGHTxWIDTH.")] = None,
    threads: Annotated[int | None, typer.Option()] = None,
    repeats: Annotated[int | None, typer.Option(min=3, max=1000, help="Timed runs of each backend, at most.")] = None,
    runs: Annotated[
        int, typer.Option(min=1, max=100, help="Measure everything this many times and show the range of the ratios.")
    ] = 1,
    isa: Annotated[
        InstructionSet,
        typer.Option(
            help="avx2, avx512: restrict every side to it, where the processor has more; ONNX Runtime and "
            "torch.compile, which cannot be, are then left out. amx: only require that the processor has it."
        ),
    ] = "native",
    file: Annotated[Path | None, typer.Option("--json", help="The file to write all measurements to.")] = None,
) -> None:
    hold(isa)
    params, machine = load_params(), environment()
    defaults, cores = params.benchmark, machine["cores"]
    height, width = _size(size) or (defaults.lr_height, defaults.lr_width)
    threads = min(defaults.threads, cores) if threads is None else threads
    if not 1 <= threads <= cores:
        raise InputError(f"--threads: {threads}; choose 1 to {cores}")
    if body and model in LAYERS:
        raise InputError(f"--body: {model} has none; name a network with --model")
    if file is not None:
        check_writable(file)

    # Imported once the arguments are checked: these take seconds to load.
    from pipeline.benchmark.engines import POPCOUNT
    from pipeline.benchmark.measure import BACKENDS, TimingSettings, measure

    workload = _workload(model, scale, body, params)
    name = LAYERS.get(model, f"{model} ×{scale}{', body' if body else ''}")
    heading = f"{name}, LR image {height}×{width}, {threads} of {cores} cores of {machine['cpu']}"
    heading += f", restricted to {TITLES[restricted]}" if (restricted := held()) else ""
    names = (*BACKENDS, *POPCOUNT) if model in LAYERS else BACKENDS
    records = []
    with tempfile.TemporaryDirectory() as folder:
        settings = TimingSettings(threads, repeats or defaults.repeats, defaults.seconds)
        for number in range(1, runs + 1):
            records.append(measure(workload, height, width, settings, Path(folder), names))
            print(
                f"{heading}{f', run {number} of {runs}' if runs > 1 else ''}\n{table(records[-1], workload.layers)}\n"
            )
    spans = ratios(records)
    if runs > 1:
        print(ranges_table(spans))
    if file is not None:
        about: dict[str, Any] = {
            "model": model,
            "scale": scale,
            "body": body,
            "layers": workload.layers,
            "held_to": held(),
        }
        fastest = ratios(records, "speedup_of_fastest")
        about |= {"environment": machine, "runs": [asdict(record) for record in records]}
        about |= {"fastest_float32": [record.baseline for record in records]}
        about |= {"ratios": spans, "ratios_of_fastest": fastest}
        write_json(file, about)


def table(record: Measurement, layers: int = 1) -> str:
    """Return a measurement as text: a line for every backend, with the reason for a missing one.

    Parameters
    ----------
    record : Measurement
    layers : int
        Times are divided by this number.
    """
    baselines = _baselines(record)
    lines = [
        [
            "",
            "median",
            "quartiles",
            "repeats",
            *(f"× {baseline}" for baseline in baselines.values()),
            "SNR",
            "convolutions",
        ]
    ]
    for name, times in record.backends.items():
        median, low, high = (f"{ms / layers:.2f}" for ms in (times.median_ms, times.q1_ms, times.q3_ms))
        speed = [f"{record.speedup[baseline][name]:.2f}" for baseline in baselines.values()]
        snr = f"{times.snr_db:.0f} dB"
        lines.append([name, f"{median} ms", f"{low}–{high}", str(times.repeats), *speed, snr, times.precision])
    reasons = [f"{name}: {reason}" for name, reason in record.missing.items()]
    return "\n".join([_aligned(lines), *reasons])


def ratios(
    records: Sequence[Measurement], of: Literal["speedup", "speedup_of_fastest"] = "speedup"
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return each backend's speed over each baseline that every run has: of all ``runs``, ``low`` and ``high``.

    The baselines are the fastest float32 runtime of each run, and OpenVINO int8.
    """
    by_baseline: dict[str, dict[str, dict[str, Any]]] = {}
    for baseline in _baselines(records[0]):
        for name in records[0].backends:
            speeds = [getattr(record, of).get(_baselines(record).get(baseline), {}) for record in records]
            values = [speed.get(name) for speed in speeds]
            if None not in values:
                span = {"runs": values, "low": min(values), "high": max(values)}
                by_baseline.setdefault(baseline, {})[name] = span
    return by_baseline


def _baselines(record: Measurement) -> dict[str, str]:
    """Return the backends of a measurement that speed is compared with, by what they are."""
    baselines = {} if record.baseline is None else {FASTEST_FLOAT32: record.baseline}
    return baselines | ({INT8: INT8} if INT8 in record.backends else {})


def ranges_table(spans: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return the result of `ratios` as text."""
    blocks = []
    for baseline, backends in spans.items():
        count = len(next(iter(backends.values()))["runs"])
        lines = [[f"speed over {baseline}", *(f"run {i + 1}" for i in range(count)), "range"]]
        for name, span in backends.items():
            lines.append([name, *(f"{value:.2f}" for value in span["runs"]), f"{span['low']:.2f}–{span['high']:.2f}"])
        blocks.append(_aligned(lines))
    return "\n\n".join(blocks)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", text)
    if match is None:
        raise InputError(f"--size: {text!r}; give a side such as 128, or HEIGHTxWIDTH such as 270x480")
    height, width = int(match[1]), int(match[2] or match[1])
    if min(height, width) < SMALLEST:
        raise InputError(f"--size: {text!r}; each side must be at least {SMALLEST}")
    return height, width


def _workload(model: str, scale: int, body: bool, params: Params) -> Any:
    from pipeline.benchmark import workloads
    from pipeline.benchmark.record import CHAINS

    if model in CHAINS:
        return workloads.chain(*CHAINS[model], params.binarize.model_dump())
    overrides = params.benchmark_overrides(model, "float")
    network = workloads.network(model, scale, overrides, params.binarize.model_dump())
    return workloads.body(network) if body else network


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Align cells in columns: the first and the last column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    last = len(widths) - 1
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in (0, last) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
