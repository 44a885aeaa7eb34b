"""A simulated schedule: when each stage would run on which worker, were it to take as long as is said."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.cluster.coordinator import Graph
from pipeline.cluster.placement import Placement, Worker, in_turn
from pipeline.errors import InputError


@dataclass(frozen=True)
class Slot:
    """One stage in a schedule: its worker, and its start and end in seconds."""

    stage: str
    worker: str
    start: float
    end: float


def simulate(graph: Graph, seconds: Mapping[str, float], workers: Sequence[Worker], gpus: float = 1.0) -> list[Slot]:
    """Place stages as the coordinator does, without running them.

    Parameters
    ----------
    graph : Graph
    seconds : mapping
        The duration of each stage.
    workers : sequence of Worker
    gpus : float
        See `Placement`.

    Returns
    -------
    list of Slot
        In the order in which they start.

    Raises
    ------
    InputError
        If no worker is large enough for a stage.
    """
    placement = Placement(gpus)
    placement.update(workers)
    names = graph.names
    waiting = {name: {other for other in graph.dependencies(name) if other in seconds} for name in names}
    ahead = longest_chains(graph, seconds)
    ready: list[str] = []
    running: list[tuple[float, str]] = []
    slots: list[Slot] = []
    clock = 0.0
    while waiting or ready or running:
        ready += [name for name, needs in waiting.items() if not needs]
        for name in in_turn(ready, graph.need, ahead):
            waiting.pop(name, None)
            worker = placement.place(name, graph.need(name))
            if worker is not None:
                ready.remove(name)
                slots.append(Slot(name, worker.address, clock, clock + seconds[name]))
                heapq.heappush(running, (clock + seconds[name], name))
        if not running:
            raise InputError(f"{ready[0]}: no worker is large enough for a {graph.need(ready[0])}")
        clock, ended = heapq.heappop(running)
        placement.release(ended)
        for needs in waiting.values():
            needs.discard(ended)
    return slots


def longest_chains(graph: Graph, seconds: Mapping[str, float]) -> dict[str, float]:
    """Return, for each stage, how long it takes with the longest chain of those that need it, in seconds."""
    chains = {name: seconds[name] for name in graph.names}
    for name in reversed(graph.names):  # each before those that it depends on
        for other in graph.dependencies(name):
            chains[other] = max(chains[other], seconds[other] + chains[name])
    return chains


def critical_path(graph: Graph, seconds: Mapping[str, float]) -> list[str]:
    """Return the longest chain of stages, each of which needs the one before: no schedule is shorter."""
    chains = longest_chains(graph, seconds)
    path: list[str] = []
    following = graph.names
    while following:
        path.append(max(following, key=lambda name: chains[name]))
        following = [name for name in graph.names if path[-1] in graph.dependencies(name)]
    return path


def idle_share(slots: Sequence[Slot], workers: int) -> float:
    """Return the share of the workers' time in which they run nothing, until the last stage ends."""
    busy = 0.0
    for worker in {slot.worker for slot in slots}:
        end = 0.0
        for slot in sorted((slot for slot in slots if slot.worker == worker), key=lambda slot: slot.start):
            busy += max(0.0, slot.end - max(end, slot.start))
            end = max(end, slot.end)
    return 1 - busy / (workers * length(slots))


def length(slots: Sequence[Slot]) -> float:
    """Return when the last stage ends."""
    return max(slot.end for slot in slots)
