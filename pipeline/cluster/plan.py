"""`python -m pipeline.cluster plan`: simulated schedules of whole profiles on several machines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.cluster.estimate import TRAINING, estimate, measured_stages, published_trainings, start_seconds
from pipeline.cluster.placement import Worker
from pipeline.cluster.schedule import critical_path, idle_share, length, simulate
from pipeline.cluster.stages import opened, profile_graph
from pipeline.errors import InputError
from pipeline.files import write_csv
from pipeline.labels import duration
from pipeline.params import load_params
from pipeline.provenance import available_cores, cpu_model
from pipeline.runs import seconds_file
from pipeline.zoo.catalogue import ZOO


def plan_profiles(profiles: Sequence[str], workers: Sequence[int], shared: bool, table: Path | None) -> None:
    """Print a table of schedules for each profile, with its longest chain of stages; write all rows to `table`."""
    with opened() as graph:
        measured = measured_stages(graph, load_params())
    if not measured:
        raise InputError(f"{seconds_file('').parent}: no stage has been measured; run `make repro`")
    start, cpu, cores = start_seconds(), cpu_model(), available_cores()
    measured += published_trainings(ZOO, cores)
    if shared and max(workers) > cores:
        raise InputError(f"--workers: {max(workers)}: this machine has {cores} cores to share; choose at most as many")
    rows: list[dict[str, Any]] = []
    for profile in profiles:
        with profile_graph(profile) as (graph, params):
            seconds = estimate(graph, params, measured, start)
            whole = sum(seconds.values())
            chain = critical_path(graph, seconds)
            training = sum(value for name, value in seconds.items() if name.startswith(TRAINING)) / whole
            print(f"{profile}: {len(seconds)} stages, {duration(whole)} in all, {training:.0%} of it training")
            print(f"  longest chain, {duration(sum(seconds[name] for name in chain))}: {' → '.join(chain)}")
            print("  workers      length  speed-up   idle")
            for count in workers:
                there = _workers(count, cores, shared)
                share = cores / there[0].cores  # with which a training has fewer cores, and takes longer
                longer = {
                    name: value * (share if graph.need(name) == "training" else 1) for name, value in seconds.items()
                }
                slots = simulate(graph, longer, there, params.cluster.gpus_per_training)
                ends, idle = length(slots), idle_share(slots, count)
                print(f"  {count:7}  {duration(ends):>10}  {whole / ends:7.1f}×  {idle:5.0%}")
                row = {"profile": profile, "stages": len(seconds), "workers": count, "seconds": round(ends)}
                row |= {"serial_seconds": round(whole), "speedup": round(whole / ends, 2), "idle_share": round(idle, 3)}
                row |= {"cpu": cpu, "cores": cores}
                rows.append(row | {"longest_chain_seconds": round(sum(seconds[name] for name in chain))})
    if table is not None:
        write_csv(table, rows)


def _workers(count: int, cores: int, shared: bool) -> list[Worker]:
    """Return workers with `cores` cores each, or with an equal part of those of one machine."""
    if shared:
        return [Worker(f"worker {n}", "this machine", max(1, cores // count)) for n in range(count)]
    return [Worker(f"worker {n}", f"machine {n}", cores) for n in range(count)]
