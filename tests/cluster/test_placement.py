"""Placement: no worker gives more than it has, and what measures time runs alone on its machine."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.cluster.placement import NEEDS, Placement, Worker

TWO_ON_ONE_HOST = [Worker("a", "one", 2), Worker("b", "one", 2)]


def placed(placement, need, *names):
    return [worker.address if (worker := placement.place(name, need)) else None for name in names]


def test_cores_are_given_once_and_come_back():
    placement = Placement()
    placement.update(TWO_ON_ONE_HOST)
    assert sorted(placed(placement, "core", "1", "2", "3", "4")) == ["a", "a", "b", "b"]
    assert placed(placement, "core", "5") == [None]
    worker = placement.release("1")
    assert placed(placement, "core", "5") == [worker.address]


def test_a_training_takes_all_cores_of_a_worker_without_a_gpu():
    placement = Placement()
    placement.update(TWO_ON_ONE_HOST)
    (first,) = placed(placement, "core", "1")
    (other,) = placed(placement, "training", "2")
    assert {first, other} == {"a", "b"}
    assert placed(placement, "training", "3") == [None]
    assert placed(placement, "core", "4") == [first]


def test_trainings_share_a_gpu_by_the_fraction_and_leave_its_cores():
    placement = Placement(gpus=0.5)
    placement.update([Worker("a", "one", 8, gpus=1.0)])
    assert placed(placement, "training", "1", "2", "3") == ["a", "a", None]
    assert placed(placement, "core", *"456789") == ["a"] * 6
    assert placed(placement, "core", "10") == [None]


def test_a_measuring_stage_waits_for_a_machine_and_keeps_it():
    placement = Placement()
    placement.update([*TWO_ON_ONE_HOST, Worker("c", "two", 2)])
    assert placed(placement, "core", "1") != [None]
    (measuring,) = placed(placement, "machine", "m")
    assert (measuring == "c") != (placement._placed["1"][1].address == "c")
    assert placed(placement, "machine", "n") == [None]
    placement.release("1")
    assert placed(placement, "machine", "n") != [None]
    assert placed(placement, "core", "2") == [None]


def test_stages_of_a_worker_that_is_gone_are_named():
    placement = Placement()
    placement.update(TWO_ON_ONE_HOST)
    placed(placement, "training", "1", "2")
    gone = placement.update(TWO_ON_ONE_HOST[:1])
    assert gone == [name for name in "12" if placement._placed[name][1].address == "b"]


@given(
    workers=st.lists(
        st.tuples(st.sampled_from("xyz"), st.integers(1, 4), st.sampled_from([0.0, 1.0, 2.0])), min_size=1
    ),
    asked=st.lists(st.tuples(st.sampled_from(NEEDS), st.booleans()), max_size=30),
    gpus=st.sampled_from([0.3, 0.5, 1.0]),
)
def test_nothing_is_given_twice(workers, asked, gpus):
    placement = Placement(gpus)
    placement.update(Worker(str(i), *worker) for i, worker in enumerate(workers))
    running = {}
    for number, (need, release) in enumerate(asked):
        if release and running:
            name = next(iter(running))
            placement.release(name)
            del running[name]
        if (worker := placement.place(str(number), need)) is not None:
            running[str(number)] = (need, worker)
        for _, worker in running.values():
            needs = [other_need for other_need, other in running.values() if other == worker]
            cores = sum(worker.cores if n == "training" and not worker.gpus else 1 for n in needs)
            assert cores <= worker.cores
            assert not worker.gpus or gpus * needs.count("training") <= worker.gpus + 1e-9
            beside = [n for n, other in running.values() if other.host == worker.host]
            assert "machine" not in beside or len(beside) == 1


def test_shares_of_a_gpu_that_do_not_add_up_exactly_fill_it():
    placement = Placement(gpus=0.3333333)
    placement.update([Worker("a", "one", 8, gpus=1.0)])
    assert placed(placement, "training", "1", "2", "3", "4") == ["a", "a", "a", None]
