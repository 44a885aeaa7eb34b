"""The tables of the section on speed."""

from __future__ import annotations

from typing import Any

from pipeline import labels
from pipeline.records import ENGINE, INT8, Measurement, NetworkBenchmark
from pipeline.reporting.columns import NETWORK, RUN_BY, WEIGHTS_COLUMN, weights_cell
from pipeline.reporting.results import Results
from pipeline.reporting.speed_claim import times
from pipeline.reporting.speed_figures import ceiling
from pipeline.tables import Column, Table, table

SPEED = {
    "by": RUN_BY,
    "weights": WEIGHTS_COLUMN,
    "median": Column("median", labels.milliseconds, "n strong"),
    "over_float32": Column("speed against\nfastest float32", times, "n strong"),
    "over_int8": Column("speed against\nOpenVINO int8", times, "n"),
    "quartiles": Column("quartiles", css="n"),
    "span": Column("fastest – slowest", css="n"),
    "repeats": Column("repeats", css="n"),
    "snr_db": Column("signal\nto error", "{:.0f} dB".format, "n"),
    "precision": Column("convolutions in"),
}


def speed_tables(results: Results) -> list[Table]:
    """Return a table for every network and for its residual blocks, and for each kind of single layer."""
    tables = []
    for (model, scale), benchmark in results.benchmarks.items():
        title = labels.network(model, scale)
        tables.append(_speed_table(title, benchmark))
        tables.append(_speed_table(f"{title}, {labels.PIECES['body']}", benchmark.body))
    for name, chain in results.layers.pieces.items():
        tables.append(_speed_table(f"{labels.PIECES[name]}, one of {chain.layers}", chain, chain.layers))
    return tables


def comparisons(results: Results) -> tuple[int, int]:
    """Count how often the engine was compared with the fastest float32 runtime, and how often it was slower.

    Popcount, the baseline of its look-ups, does not count.
    """
    networks = results.benchmarks.values()
    timed: list[Measurement] = [*networks, *(network.body for network in networks), *results.layers.pieces.values()]
    modes = [(each, name) for each in timed for name in each.engines if "popcount" not in name]
    ratios = [ratio for each, name in modes if (ratio := each.speed(name)) is not None]
    return len(ratios), sum(ratio < 1 for ratio in ratios)


def missing_backends(results: Results) -> list[tuple[str, str]]:
    """Return every backend that is missing somewhere, by its name, with where and why."""
    timed: dict[str, Measurement] = {labels.PIECES[name]: chain for name, chain in results.layers.pieces.items()}
    reasons: dict[tuple[str, str], list[str]] = {}
    for (model, scale), benchmark in results.benchmarks.items():
        title = labels.network(model, scale)
        timed |= {title: benchmark, f"{title}, {labels.PIECES['body']}": benchmark.body}
        timed |= {f"{title} on {_size(other)}": other for other in benchmark.sizes}
    for where, measurement in timed.items():
        for name, reason in measurement.missing.items():
            reasons.setdefault((labels.backend(name), reason), []).append(where)
    return [
        (name, f"{reason} ({labels.listing(where) if len(where) < len(timed) else 'everywhere'})")
        for (name, reason), where in reasons.items()
    ]


def ceiling_table(results: Results) -> Table:
    """Return how far the speed-up of each network can go, and how far the fastest mode of the engine goes."""
    columns = {
        "network": NETWORK,
        "share_of_macs": Column("binarized layers’ share\nof multiply-adds", labels.percent, "n"),
        "share_of_time": Column("of PyTorch’s time", labels.percent, "n"),
        "ceiling": Column("ceiling", css="n strong"),
        "achieved": Column("achieved by the fastest mode,\nwhatever its rounding costs"),
    }
    return table("ceilings", "Ceilings", columns, [_ceiling_row(each) for each in results.benchmarks.values()])


def limit_table(results: Results) -> Table:
    """Return how near each single layer comes to what the machine can do, in 10⁹ multiply-adds a second.

    Modes of the engine whose microkernel was timed alone have a row.
    """
    rows = []
    for name, chain in results.layers.pieces.items():
        height, width = chain.lr_size
        operations = 9 * chain.channels**2 * height * width * chain.layers
        for activations in ("float32", "int8", "int6"):
            mode = f"{ENGINE}_{activations}"
            limits, of_tiles = results.layers.machine_limit, "float32" if activations == "float32" else "int8"
            limit = limits.get(f"tiles_{of_tiles}_gmacs_per_s") or limits.get(f"table_{activations}_gmacs_per_s")
            if limit is not None and mode in chain.backends:
                rate = operations / chain.backends[mode].median_ms / 1e6
                row = {"layer": labels.PIECES[name], "by": mode, "rate": rate, "limit": limit, "share": rate / limit}
                rows.append(row)
    columns = {
        "layer": Column("layer"),
        "by": RUN_BY,
        "rate": Column("achieved", "{:,.0f}".format, "n strong"),
        "limit": Column("limit", "{:,.0f}".format, "n"),
        "share": Column("share", labels.percent, "n strong"),
    }
    return table("machine-limit", "Machine limit", columns, rows)


def resource_table(results: Results) -> Table:
    """Return the memory of every network and backend, and its times by number of threads."""
    counts = sorted({timed.threads for network in results.benchmarks.values() for timed in network.thread_counts})
    rows = []
    for (model, scale), benchmark in results.benchmarks.items():
        timed = {each.threads: each.backends for each in benchmark.thread_counts}
        for name in benchmark.backends:
            memory = benchmark.memory.backends.get(name)
            medians = {n: timed[n][name].median_ms for n in counts if n in timed and name in timed[n]}
            if memory is None and not medians:
                continue
            row: dict[str, Any] = {"network": labels.network(model, scale), "by": name}
            row |= {f"threads_{count}": ms for count, ms in medians.items()}
            if memory is not None:
                row |= {"forward": memory.forward_mib, "peak": memory.peak_mib}
            if len(medians) > 1:
                row["gain"] = medians[min(medians)] / medians[max(medians)]
            rows.append(row)
    columns = {
        "network": NETWORK,
        "by": RUN_BY,
        "forward": Column("forward pass", "{:,.0f} MiB".format, "n strong"),
        "peak": Column("in all", "{:,.0f} MiB".format, "n"),
    }
    columns |= {f"threads_{count}": Column(labels.count(count, "thread"), labels.milliseconds, "n") for count in counts}
    columns["gain"] = Column("speed-up by threads", times, "n")
    return table("memory-and-threads", "Memory and threads", columns, rows, grouped=True)


def _speed_table(title: str, timed: Measurement, layers: int = 1) -> Table:
    rows = []
    for name, timing in timed.backends.items():
        ms = {key: value / layers for key, value in vars(timing).items() if key.endswith("_ms")}
        ratio, engine = timed.speed(name), name.startswith(ENGINE)
        rows.append(
            {
                "by": name,
                **weights_cell("binary" if engine else "float"),
                "median": ms["median_ms"],
                "over_float32": ratio,
                "over_float32.kind": "slower" if engine and ratio is not None and ratio < 1 else "",
                "over_int8": timed.speed(name, INT8),
                "quartiles": f"{labels.milliseconds(ms['q1_ms'])} – {labels.milliseconds(ms['q3_ms'])}",
                "span": f"{labels.milliseconds(ms['min_ms'])} – {labels.milliseconds(ms['max_ms'])}",
                "repeats": timing.repeats,
                "snr_db": None if name == "torch" else timing.snr_db,
                "precision": timing.precision,
            }
        )
    return table(f"times-{title}", f"{title}, LR image {_size(timed)}", SPEED, rows)


def _ceiling_row(benchmark: NetworkBenchmark) -> dict[str, Any]:
    amdahl, limit = benchmark.amdahl, ceiling(benchmark)
    achieved = [(ratio, name) for name in benchmark.engines if (ratio := benchmark.speed(name)) is not None]
    return {
        "network": labels.network(benchmark.model, benchmark.scale),
        "share_of_macs": amdahl.binary_macs / (amdahl.binary_macs + amdahl.float_macs),
        "share_of_time": amdahl.share,
        "ceiling": "none" if limit is None else times(limit),
        "achieved": f"{times(max(achieved)[0])} {labels.backend(max(achieved)[1])}" if achieved else None,
    }


def _size(timed: Measurement) -> str:
    return "×".join(map(str, timed.lr_size))
