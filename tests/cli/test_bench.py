"""`binsr bench` times what can run and names what cannot."""

import json

import pytest
import torch

from pipeline import inference, labels
from pipeline.cli import bench
from pipeline.engine.modes import MODES, modes_here

WITHOUT_RANGES = {"engine_float32", "engine_bfloat16"}.intersection(modes_here())  # modes that need no calibration


def test_a_binary_network_and_its_twin(zoo, binsr):
    arguments = ("bench", "--model", "srresnet-x2-binary", "--size", "9x12", "--threads", "1", "--repeats", "3")
    done = binsr(*arguments, "--json")
    told = json.loads(done.out)
    assert done.code == 0 and told["lr_size"] == [9, 12] and told["threads"] == 1
    assert set(told["backends"]) == {"torch_channels_last", "engine_int8", *WITHOUT_RANGES}
    assert set(told["missing"]) == MODES.keys() - told["backends"].keys()  # the tiny network has no other ranges
    assert all(times["repeats"] == 3 and times["median_ms"] > 0 for times in told["backends"].values())
    assert told["speedup"]["torch_channels_last"] == 1
    text = binsr(*arguments)
    assert all(
        line.startswith(labels.backend(name) + " ")
        for name, line in zip(told["backends"], text.out.splitlines()[3:], strict=True)
    )
    assert text.err.count("note: engine, ") == len(told["missing"])


def test_pytorch_has_as_many_threads_as_the_engine(zoo, binsr, monkeypatch):
    before, seen = torch.get_num_threads(), set()

    def alternate(runs, repeats, budget):
        runs["torch_channels_last"]()
        return {"torch_channels_last": [1.0] * 3}

    def upscale(module, image):
        seen.add(torch.get_num_threads())

    monkeypatch.setattr(bench, "alternate", alternate)
    monkeypatch.setattr(inference, "upscale", upscale)
    torch.set_num_threads(2)
    try:
        done = binsr("bench", "--model", "srresnet-x2-float", "--size", "8x8", "--threads", "1", "--json")
    finally:
        torch.set_num_threads(before)
    assert done.code == 0 and seen == {1}


def test_without_a_twin(zoo, network, binsr):
    for model, reason in (
        ("srresnet-x4-binary", "float twin of srresnet-x4-binary"),
        (network, "twin of a packed file"),
    ):
        told = json.loads(binsr("bench", "--model", model, "--size", "8x8", "--repeats", "3", "--json").out)
        assert reason in told["missing"]["torch_channels_last"]
        assert told["baseline"] == "engine_float32" and told["speedup"]["engine_float32"] == 1


def test_a_float_network_runs_without_integers_beside_pytorch(zoo, binsr):
    done = binsr("bench", "--model", "srresnet-x2-float", "--size", "8x8", "--repeats", "3", "--json")
    assert set(json.loads(done.out)["backends"]) == {"torch_channels_last", *WITHOUT_RANGES}


@pytest.mark.parametrize("size", ["12", "0x4", "axb", "4x", "12345x1", "1x99999"])
def test_wrong_sizes(zoo, binsr, size):
    done = binsr("bench", "--size", size)
    assert done.code == 2 and "--size" in done.err and done.err.count("\n") == 1


def test_more_memory_than_there_is(zoo, binsr, monkeypatch):
    def alternate(functions, repeats, budget):
        raise MemoryError

    monkeypatch.setattr(bench, "alternate", alternate)
    done = binsr("bench", "--model", "srresnet-x2-float", "--size", "8x8")
    assert done.code == 2 and done.out == "" and done.err.count("\n") == 1 and "memory" in done.err
