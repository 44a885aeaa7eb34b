"""Alternation and its budget, and the summary of times."""

import time

from pipeline.benchmark.timing import FEWEST, alternate, summary
from pipeline.records import Timing


def test_functions_take_turns_and_warm_ups_do_not_count():
    order = []
    functions = {name: lambda name=name: order.append(name) for name in "ab"}
    seconds = alternate(functions, repeats=4, warmup=2)
    assert order == ["a", "b"] * 6
    assert {name: len(values) for name, values in seconds.items()} == {"a": 4, "b": 4}


def test_what_has_spent_its_budget_sits_out_after_a_few_rounds():
    functions = {"slow": lambda: time.sleep(0.002), "quick": lambda: None}
    seconds = alternate(functions, repeats=9, budget=0.001)
    assert len(seconds["slow"]) == FEWEST
    assert len(seconds["quick"]) == 9


def test_the_summary_is_in_milliseconds():
    times = summary([0.005, 0.001, 0.002, 0.003, 0.004])
    assert times == Timing(min_ms=1.0, q1_ms=2.0, median_ms=3.0, q3_ms=4.0, max_ms=5.0, repeats=5)
