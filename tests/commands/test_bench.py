"""``python -m pipeline.engine.bench``: its table, its file, and what it says of wrong arguments."""

import json
import sys
from dataclasses import replace

import pytest
import yaml

from pipeline.benchmark import measure
from pipeline.commands.bench import main, ranges_table, ratios, table
from pipeline.program import run_program
from pipeline.records import FLOAT32, CheckedTiming, Measurement
from tests.conftest import ROOT


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    """Run the command in this process, on a small network; return its exit code, output and errors."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["benchmark"]["network"]["edsr"] |= {"blocks": 1, "channels": 8}
    params["benchmark"] |= {"seconds": 0.01}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        code = 0
        try:
            run_program(main)
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


def test_two_runs_and_their_file(bench, tmp_path, monkeypatch):
    names = ("torch", "onnxruntime_float32", "openvino_float32", "openvino_int8", "engine_float32", "engine_int8")
    monkeypatch.setattr(measure, "BACKENDS", names)
    arguments = ["--model", "edsr", "--size", "16x20", "--threads", "1", "--repeats", "3", "--runs", "2"]
    code, output, errors = bench(*arguments, "--json", "times.json")
    assert code == 0, errors
    assert "run 2 of 2" in output and "speed over fastest_float32" in output
    written = json.loads((tmp_path / "times.json").read_text())
    assert len(written["runs"]) == 2 and written["runs"][0]["lr_size"] == [16, 20]
    span = written["ratios"]["fastest_float32"]["engine_int8"]
    assert [span["low"], span["high"]] == sorted(span["runs"])
    for name, timed in zip(written["fastest_float32"], written["runs"], strict=True):
        float32 = [other for other in timed["backends"] if other in FLOAT32]
        assert name == min(float32, key=lambda other: timed["backends"][other]["median_ms"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "srgan"], "'--model': 'srgan' is not one of"),
        (["--scale", "5"], "'--scale': '5' is not one of"),
        (["--size", "128x"], "--size: '128x'; give a side"),
        (["--size", "8"], "--size: '8'; each side must be at least 16"),
        (["--threads", "0"], "--threads: 0; choose 1 to"),
        (["--repeats", "2"], "'--repeats': Input should be greater than or equal to 3"),
        (["--runs", "x"], "'--runs': Input should be a valid integer"),
        (["--json", "."], ".: is not a regular file"),
        (["--model", "layer", "--body"], "--body: layer has none"),
        (["--fast"], "No such option: --fast; see python -m "),
    ],
)
def test_wrong_arguments_are_said_in_one_line(bench, arguments, said):
    code, _, errors = bench(*arguments)
    assert code == 2
    assert said in errors and errors.startswith("error: ") and errors.count("\n") == 1


def record(median, missing):
    times = CheckedTiming(1.0, 2.0, median, 6.0, 9.0, repeats=7, snr_db=40.0, precision="uint8")
    speedup = {"torch": {"engine_int8": 8 / median, "torch": 1.0}}
    timed = {"engine_int8": times, "torch": replace(times, median_ms=8.0)}
    return Measurement((128, 128), 2, timed, missing, speedup, speedup)


def test_the_table_is_per_layer_and_names_what_is_missing():
    lines = table(record(4.0, {"torch_compile": "no C++ compiler"}), layers=2).splitlines()
    assert lines[1].split() == ["engine_int8", "2.00", "ms", "1.00–3.00", "7", "2.00", "40", "dB", "uint8"]
    assert lines[3] == "torch_compile: no C++ compiler"


def test_ratios_over_runs():
    spans = ratios([record(4.0, {}), record(2.0, {})])
    assert spans["fastest_float32"]["engine_int8"] == {"runs": [2.0, 4.0], "low": 2.0, "high": 4.0}
    assert spans.keys() == {"fastest_float32"}  # OpenVINO was not timed
    assert ranges_table(spans).splitlines()[1].split() == ["engine_int8", "2.00", "4.00", "2.00–4.00"]
