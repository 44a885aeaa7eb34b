"""The whole record of one network, with its children that measure memory, and the table made of it."""

import pytest

from pipeline.benchmark import record as recording
from pipeline.benchmark.measure import BACKENDS, TimingSettings
from pipeline.benchmark.record import OF_PARTS, SCALED, layers_record, layers_rows, network_record, network_rows
from pipeline.engine.kernels.channel import compiled
from tests.benchmark.conftest import BINARIZATION, SMALL

SETTINGS = TimingSettings(threads=1, repeats=3, seconds=0.01)


@pytest.fixture(scope="module")
def record():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXX", "missing")  # test_measure.py compiles a network with PyTorch
        return network_record("vdsr", 2, SMALL["vdsr"], BINARIZATION, (16, 16), [16, 24], SETTINGS, {})


def test_every_backend_is_there_or_missing_with_a_reason(record):
    for part, names in ((record, BACKENDS), (record.body, OF_PARTS), (record.memory, BACKENDS)):
        assert {*part.backends, *part.missing} == set(names)
        assert all(part.missing.values())
    for part in (*record.sizes, *record.thread_counts):
        assert {*part.backends, *part.missing} == set(SCALED)


def test_sizes_and_threads(record):
    assert [part.lr_size for part in record.sizes] == [(16, 16), (24, 24)]
    assert [part.threads for part in record.thread_counts] == [1]


def test_memory_is_of_a_forward_pass_and_of_all(record):
    assert {"torch", "engine_float32"} <= record.memory.backends.keys()
    for found in record.memory.backends.values():
        assert 10 < found.loaded_mib <= found.peak_mib
        assert found.forward_mib == pytest.approx(found.peak_mib - found.loaded_mib, abs=0.1)
    # It does not load PyTorch, and so holds less.
    engine, torch = (record.memory.backends[name].loaded_mib for name in ("engine_float32", "torch"))
    assert engine < torch


def test_the_table_has_every_measurement_once(record):
    table = network_rows(record)
    keys = [(row["piece"], row["lr_height"], row["threads"], row["backend"]) for row in table]
    assert len(keys) == len(set(keys)) == len(BACKENDS) + len(OF_PARTS) + len(SCALED)


def test_what_would_take_too_long_is_left_out_and_said(record, monkeypatch, tmp_path):
    monkeypatch.setattr(recording, "LONGEST_MS", 0.0)
    whole = recording.network("vdsr", 2, SMALL["vdsr"], BINARIZATION)
    small, large, largest = recording._over_sizes(whole, record, [16, 24, 32], SETTINGS, tmp_path)
    assert set(small.backends) and not large.backends and not largest.backends
    assert "it would take about" in large.missing["engine_int8"]
    assert largest.missing["engine_int8"] == large.missing["engine_int8"]


def test_single_layers(monkeypatch):
    monkeypatch.setattr(recording, "CHAINS", {"layer": (8, 2)})
    found = layers_record(BINARIZATION, (16, 16), SETTINGS, {})
    assert (found.pieces["layer"].channels, found.pieces["layer"].layers) == (8, 2)
    assert {row["piece"] for row in layers_rows(found)} == {"layer"}
    assert {"torch", "engine_float32", "engine_int8"} <= found.pieces["layer"].backends.keys()
    one = found.machine_limit
    assert 1 < one["load_gb_per_s"] < 2000 and one["pixel_table_gmacs_per_s"] > 0
    assert ("table_int8_gmacs_per_s" in one) == compiled.supported()
    assert ("tiles_int8_gmacs_per_s" in one) == compiled.tiles_supported()
