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
    ready: list[str] = []
    running: list[tuple[float, str]] = []
    slots: list[Slot] = []
    clock = 0.0
    while waiting or ready or running:
        ready += [name for name, needs in waiting.items() if not needs]
        for name in in_turn(ready, graph.need):
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


def critical_path(graph: Graph, seconds: Mapping[str, float]) -> list[str]:
    """Return the chain of stages, each of which needs the one before, that takes longest: no schedule is shorter."""
    longest: dict[str, float] = {}
    before: dict[str, str | None] = {}
    for name in graph.names:  # each after those that it depends on
        before[name] = max(graph.dependencies(name), key=lambda other: longest[other], default=None)
        longest[name] = seconds[name] + (longest[other] if (other := before[name]) is not None else 0)
    path = [max(longest, key=lambda name: longest[name])]
    while (other := before[path[-1]]) is not None:
        path.append(other)
    return path[::-1]


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
