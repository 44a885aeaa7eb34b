"""The tables of the section on speed, as text ready to print."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline import labels
from pipeline.reporting.benchmarks import BASELINE, ENGINE, Benchmark, Measurement
from pipeline.reporting.results import Results
from pipeline.reporting.speed_claim import times
from pipeline.reporting.speed_figures import STRONGEST
from pipeline.reporting.tables import NONE


@dataclass(frozen=True)
class SpeedRow:
    """One backend's times for one piece, and how it compares with two of its peers."""

    weights: str
    by: str
    median: str
    quartiles: str
    span: str
    over_torch: str
    over_strongest: str
    slower: bool  # the engine, than PyTorch
    snr: str
    precision: str
    repeats: int


@dataclass(frozen=True)
class SpeedTable:
    """The backends timed against each other on one piece."""

    title: str
    lr_size: str
    rows: list[SpeedRow]


@dataclass(frozen=True)
class CeilingRow:
    """How far one network's speed-up can go, and how far each engine goes."""

    network: str
    share_of_macs: str
    share_of_time: str
    ceiling: str
    achieved: str


@dataclass(frozen=True)
class LimitRow:
    """How near a single layer comes to what the machine can do, in 10⁹ multiply-adds a second."""

    layer: str
    by: str
    rate: str
    limit: str
    share: str


@dataclass(frozen=True)
class ResourceRow:
    """One backend's memory and its times by number of threads, for one network."""

    network: str
    by: str
    forward: str
    peak: str
    times: list[str]
    gain: str


def speed_tables(results: Results) -> list[SpeedTable]:
    """Return a table for every network and for its residual blocks, and for each kind of single layer."""
    tables = []
    for (model, scale), benchmark in results.benchmarks.items():
        title = labels.network(model, scale)
        tables.append(_table(title, benchmark))
        tables.append(_table(f"{title}, {labels.PIECES['body']}", benchmark.body))
    for name, piece in results.layers.pieces.items():
        tables.append(_table(f"{labels.PIECES[name]}, one of {piece.layers}", piece, piece.layers))
    return tables


def missing_backends(results: Results) -> list[tuple[str, str]]:
    """Return every backend that is missing somewhere, by its name, with where and why."""
    pieces: dict[str, Measurement] = {labels.PIECES[name]: piece for name, piece in results.layers.pieces.items()}
    reasons: dict[tuple[str, str], list[str]] = {}
    for (model, scale), benchmark in results.benchmarks.items():
        title = labels.network(model, scale)
        pieces |= {title: benchmark, f"{title}, {labels.PIECES['body']}": benchmark.body}
        pieces |= {f"{title} on {_side(timed)}": timed for timed in benchmark.sizes}
    for where, timed in pieces.items():
        for name, reason in timed.missing.items():
            reasons.setdefault((labels.backend(name), reason), []).append(where)
    return [
        (name, f"{reason} ({labels.listing(places) if len(places) < len(pieces) else 'everywhere'})")
        for (name, reason), places in reasons.items()
    ]


def ceiling_rows(results: Results) -> list[CeilingRow]:
    """Return a row for every network."""
    return [_ceiling_row(benchmark) for benchmark in results.benchmarks.values()]


def thread_counts(results: Results) -> list[int]:
    """Return the numbers of threads that networks were timed on."""
    return sorted({timed.threads for benchmark in results.benchmarks.values() for timed in benchmark.thread_counts})


def limit_rows(results: Results) -> list[LimitRow]:
    """Return a row for every single layer and mode of the engine whose microkernel was timed alone."""
    rows = []
    for name, piece in results.layers.pieces.items():
        height, width = piece.lr_size
        operations = 9 * piece.channels**2 * height * width * piece.layers
        for activations in ("float32", "int8", "int6"):
            limit = (results.layers.machine_limit or {}).get(f"table_{activations}_gmacs_per_s")
            timing = piece.backends.get(f"{ENGINE}_{activations}")
            if limit is None or timing is None:
                continue
            rate = operations / timing.median_ms / 1e6
            by = labels.backend(f"{ENGINE}_{activations}")
            share = labels.percent(rate / limit)
            rows.append(LimitRow(labels.PIECES[name], by, f"{rate:,.0f}", f"{limit:,.0f}", share))
    return rows


def resource_rows(results: Results) -> list[ResourceRow]:
    """Return a row for every network and backend whose memory or scaling over threads was measured."""
    counts = thread_counts(results)
    rows = []
    for (model, scale), benchmark in results.benchmarks.items():
        timed = {each.threads: each.backends for each in benchmark.thread_counts}
        for name in benchmark.backends:
            memory = benchmark.memory.backends.get(name)
            medians = {n: timed[n][name].median_ms for n in counts if n in timed and name in timed[n]}
            if memory is None and not medians:
                continue
            few, many = min(medians, default=0), max(medians, default=0)
            rows.append(
                ResourceRow(
                    network=labels.network(model, scale),
                    by=labels.backend(name),
                    forward=NONE if memory is None else _mebibytes(memory.forward_mib),
                    peak=NONE if memory is None else _mebibytes(memory.peak_mib),
                    times=[labels.milliseconds(medians[n]) if n in medians else NONE for n in counts],
                    gain=times(medians[few] / medians[many]) if few < many else NONE,
                )
            )
    return rows


def _table(title: str, timed: Measurement, layers: int = 1) -> SpeedTable:
    rows = []
    for name, timing in timed.backends.items():
        engine, ratio = name.startswith(ENGINE), timed.speed(name)
        ms = {key: labels.milliseconds(value / layers) for key, value in vars(timing).items() if key.endswith("_ms")}
        rows.append(
            SpeedRow(
                weights="binary" if engine else "float",
                by=labels.backend(name),
                median=ms["median_ms"],
                quartiles=f"{ms['q1_ms']} – {ms['q3_ms']}",
                span=f"{ms['min_ms']} – {ms['max_ms']}",
                over_torch=_ratio(timed, name, BASELINE),
                over_strongest=_ratio(timed, name, STRONGEST),
                slower=engine and ratio is not None and ratio < 1,
                snr=NONE if name == "torch" else f"{timing.snr_db:.0f} dB",
                precision=timing.precision,
                repeats=timing.repeats,
            )
        )
    return SpeedTable(title, "×".join(map(str, timed.lr_size)), rows)


def _ratio(timed: Measurement, name: str, baseline: str) -> str:
    ratio = timed.speed(name, baseline)
    return NONE if ratio is None else times(ratio)


def _ceiling_row(benchmark: Benchmark) -> CeilingRow:
    amdahl = benchmark.amdahl
    achieved = [(ratio, name) for name in benchmark.engines if (ratio := benchmark.speed(name)) is not None]
    return CeilingRow(
        network=labels.network(benchmark.model, benchmark.scale),
        share_of_macs=labels.percent(amdahl.binary_macs / (amdahl.binary_macs + amdahl.float_macs)),
        share_of_time=labels.percent(amdahl.share),
        ceiling="none" if amdahl.ceiling is None else times(amdahl.ceiling),
        achieved=f"{times(max(achieved)[0])} {labels.backend(max(achieved)[1])}" if achieved else NONE,
    )


def _side(timed: Measurement) -> str:
    return "×".join(map(str, timed.lr_size))


def _mebibytes(value: float) -> str:
    return f"{value:,.0f} MiB"
