"""All backends on a small network, and the reasons for those that cannot run."""

import sys

import numpy as np
import pytest
import torch

from pipeline.benchmark import measure as measuring
from pipeline.benchmark.backends import Backend, UnavailableError
from pipeline.benchmark.baselines import PEERS
from pipeline.benchmark.engines import ENGINES
from pipeline.benchmark.exports import Exports
from pipeline.benchmark.measure import BACKENDS, TimingSettings, build, measure, rows, speedup
from pipeline.errors import InputError

SETTINGS = TimingSettings(threads=1, repeats=3, seconds=0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def record(edsr, folder):
    return measure(edsr, 16, 20, SETTINGS, folder)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_runs_or_says_in_one_line_why_not(record, name):
    if name in record.missing:
        assert record.missing[name].count("\n") == 0
        pytest.skip(record.missing[name])
    times = record.backends[name]
    assert 0 < times.min_ms <= times.q1_ms <= times.median_ms <= times.q3_ms <= times.max_ms
    assert times.repeats == 3
    assert times.snr_db >= (90 if name.startswith("torch") or name.endswith("float32") else 15)


@pytest.mark.parametrize("name", ["onnxruntime_int8", "openvino_int8"])
def test_what_is_called_int8_was_computed_so(record, name):
    if name in record.missing:
        pytest.skip(record.missing[name])
    assert record.backends[name].precision.endswith("uint8")


def test_float32_is_not_replaced_by_a_shorter_type(record):
    assert all(
        times.precision.startswith("float32") for name, times in record.backends.items() if name.endswith("float32")
    )


def test_ratios_are_of_runs_that_lie_together():
    seconds = {"torch_channels_last": [4.0, 8.0, 4.0], "engine_int8": [1.0, 2.0, 2.0, 9.0], "openvino_int8": [2.0] * 9}
    found = speedup(seconds)
    assert found["torch_channels_last"] == {"torch_channels_last": 1.0, "engine_int8": 4.0, "openvino_int8": 2.0}
    assert found["openvino_int8"]["engine_int8"] == 1.0  # of 2, 1, 1 and 2/9


def test_ratios_of_the_fastest_runs(record):
    fastest = {name: times.min_ms for name, times in record.backends.items()}
    for name, ratio in record.speedup_of_fastest["torch_channels_last"].items():
        assert ratio == pytest.approx(fastest["torch_channels_last"] / fastest[name], rel=0.01)


def test_rows_have_all_backends_and_the_same_columns(record):
    table = rows(record, "network", model="edsr")
    assert [row["backend"] for row in table] == [*record.backends, *record.missing]
    assert len({tuple(row) for row in table}) == 1
    assert table[0]["model"] == "edsr" and table[0]["speedup_over_fastest_float32"] > 0


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("onnxruntime_float32", "onnxruntime"),
        ("onnxruntime_float32", "onnx"),
        ("onnxruntime_int8", "onnxruntime.quantization"),
        ("openvino_float32", "openvino"),
        ("openvino_int8", "nncf"),
    ],
)
def test_a_missing_package_is_named_with_the_remedy(edsr, tmp_path, monkeypatch, name, package):
    for module in [module for module in sys.modules if module == package or module.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UnavailableError, match=r"^\S+ is not installed: pip install 'binsr\[peers\]'$"):
        build(name, edsr, Exports(edsr.real, edsr.calibration, tmp_path), edsr.input(16, 16), 1)


def test_a_missing_compiler_is_named(edsr, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    record = measure(edsr, 16, 16, SETTINGS, tmp_path, ["torch", "torch_compile"])
    assert record.missing == {"torch_compile": "no C++ compiler: install g++, or name yours in CXX"}
    assert list(record.backends) == ["torch"] and record.speedup == {"torch": {"torch": 1.0}}


def test_a_tool_that_fails_is_said_and_the_rest_measured(edsr, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no such instruction\nmore")

    for peer in (fail, lambda *_: Backend(fail, "float32")):  # when it is built, or when it runs
        monkeypatch.setitem(PEERS, "torch_compile", peer)
        record = measure(edsr, 16, 16, SETTINGS, tmp_path, ["torch", "torch_compile"])
        assert record.missing == {"torch_compile": "failed: RuntimeError: no such instruction"}
        assert list(record.backends) == ["torch"]


def test_a_tool_that_fails_after_the_check_ends_the_measurement_in_one_line(edsr, tmp_path, monkeypatch):
    with torch.inference_mode():
        outputs = iter([edsr.real(torch.from_numpy(edsr.input(16, 16))[None])[0].numpy()])

    def once():
        try:
            return next(outputs)
        except StopIteration:
            raise UnavailableError("its process ended with exit code -9") from None

    monkeypatch.setitem(PEERS, "torch_compile", lambda *_: Backend(once, "float32"))
    with pytest.raises(InputError, match="could not be timed to the end: its process ended with exit code -9"):
        measure(edsr, 16, 16, SETTINGS, tmp_path, ["torch", "torch_compile"])


def test_an_engine_that_cannot_run_the_network_says_why(edsr, tmp_path, monkeypatch):
    monkeypatch.setitem(ENGINES, "engine_int4", {"activations": "int4"})
    record = measure(edsr, 16, 16, SETTINGS, tmp_path, ["torch", "engine_int4"])
    assert "int4" in record.missing["engine_int4"]


def test_a_wrong_output_is_not_timed(edsr, tmp_path, monkeypatch):
    wrong = Backend(lambda: np.zeros((3, 32, 32), np.float32), "float32")
    monkeypatch.setitem(measuring.PEERS, "torch_compile", lambda *_: wrong)
    record = measure(edsr, 16, 16, SETTINGS, tmp_path, ["torch", "torch_compile"])
    assert record.missing["torch_compile"].startswith("wrong output: 0.0 dB")
