"""The table of published speed ratios."""

from __future__ import annotations

from dataclasses import replace

from pipeline.records import CheckedTiming, Measurement, PublishedRatios
from pipeline.reporting.ratio_tables import ratio_table
from pipeline.reporting.results import INSTRUCTION_SETS, TIMED, _ratios
from tests.conftest import ROOT


def measured(**milliseconds):
    timing = CheckedTiming(1.0, 1.0, 1.0, 1.0, 1.0, repeats=3, snr_db=40.0, precision="float32")
    backends = {name: replace(timing, median_ms=median) for name, median in milliseconds.items()}
    return Measurement((128, 128), 2, backends, {}, {}, {})


def test_ratios_are_of_medians_within_a_run_over_the_fastest_float32_runtime():
    runs = [
        measured(torch=900.0, openvino_float32=600.0, openvino_int8=200.0, engine_int8_all=100.0, engine_float32=300.0),
        measured(torch=500.0, openvino_float32=600.0, openvino_int8=150.0, engine_int8_all=100.0, engine_float32=250.0),
    ]
    each = PublishedRatios("edsr", 4, True, {"cpu": "A processor"}, runs)
    made = ratio_table({"avx512": {}, "avx2": {"edsr-body": each}})
    assert made.caption == "AVX2: LR image 128×128, A processor"
    row = made.frame.iloc[0]
    assert (row["isa"], row["workload"]) == ("AVX2", "EDSR ×4, residual blocks")
    assert (row["int8"], row["exact"], row["integer"]) == ("1.5× – 2.0×", "2.0×", "5.0× – 6.0×")
    assert row["fastest"] == "OpenVINO, float32, PyTorch"


def test_nothing_published_is_no_table():
    assert not ratio_table({"avx512": {}, "avx2": {}})


def test_the_committed_ones_can_be_read_and_are_all():
    files = {path.relative_to(ROOT / "ratios").as_posix() for path in (ROOT / "ratios").rglob("*.json")}
    published = _ratios(ROOT / "ratios")
    assert files == {f"{isa}/{name}.json" for isa in INSTRUCTION_SETS for name in published[isa]}
    assert all(len(each.runs) == 3 for by_name in published.values() for each in by_name.values())
    assert set(published["avx512"]) == set(TIMED)
