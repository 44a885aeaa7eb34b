"""Simulated schedules: they keep to the graph and the workers, and no schedule is shorter than the longest chain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cluster.placement import NEEDS, Worker
from pipeline.cluster.schedule import critical_path, idle_share, length, simulate
from pipeline.errors import InputError


class Graph:
    """Stages by name: those that they depend on, which come before, and what they need."""

    root = ""

    def __init__(self, stages):
        self._stages = stages

    @property
    def names(self):
        return list(self._stages)

    def dependencies(self, name):
        return self._stages[name][0]

    def need(self, name):
        return self._stages[name][1]


def machines(count, cores=2):
    return [Worker(f"worker {n}", f"machine {n}", cores) for n in range(count)]


@st.composite
def graphs(draw):
    stages, seconds = {}, {}
    for number in range(draw(st.integers(1, 12))):
        others = draw(st.lists(st.sampled_from(list(stages)), unique=True, max_size=3)) if stages else []
        stages[str(number)] = (others, draw(st.sampled_from(NEEDS)))
        seconds[str(number)] = draw(st.integers(1, 9))
    return Graph(stages), seconds


@given(graphs(), st.integers(1, 4))
def test_a_schedule_keeps_to_the_graph_and_the_workers(made, count):
    graph, seconds = made
    slots = simulate(graph, seconds, machines(count))
    by_stage = {slot.stage: slot for slot in slots}
    assert sorted(by_stage) == sorted(graph.names) and len(slots) == len(by_stage)
    for slot in slots:
        assert slot.end - slot.start == seconds[slot.stage]
        assert all(by_stage[other].end <= slot.start for other in graph.dependencies(slot.stage))
        beside = [s for s in slots if s.worker == slot.worker and s.start <= slot.start < s.end]
        assert len(beside) <= 2 and (len(beside) == 1 or all(graph.need(s.stage) == "core" for s in beside))
    longest = sum(seconds[name] for name in critical_path(graph, seconds))
    assert longest <= length(slots) <= sum(seconds.values())
    assert 0 <= idle_share(slots, count) < 1
    assert length(simulate(graph, seconds, machines(30))) == longest  # with a machine for each, nothing waits


def test_a_worked_example():
    graph = Graph(
        {"data": ([], "core"), "a": (["data"], "training"), "b": (["data"], "training"), "report": (["a", "b"], "core")}
    )
    seconds = {"data": 1, "a": 10, "b": 20, "report": 2}
    assert critical_path(graph, seconds) == ["data", "b", "report"]
    assert length(simulate(graph, seconds, machines(1))) == 33
    two = simulate(graph, seconds, machines(2))
    assert length(two) == 23 and idle_share(two, 2) == pytest.approx(1 - 33 / 46)


def test_workers_of_one_machine_wait_while_time_is_measured():
    graph = Graph({"time": ([], "machine"), "a": ([], "core"), "b": ([], "core")})
    seconds = {"time": 5, "a": 1, "b": 1}
    shared = [Worker(f"worker {n}", "this machine", 1) for n in range(2)]
    assert length(simulate(graph, seconds, shared)) == 6
    assert length(simulate(graph, seconds, machines(3))) == 5


def test_a_cluster_without_room_is_refused():
    with pytest.raises(InputError, match="a: no worker is large enough for a training"):
        simulate(Graph({"a": ([], "training")}), {"a": 1}, [Worker("w", "m", 4, gpus=0.25)], gpus=0.5)
