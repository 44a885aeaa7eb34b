"""A few attempts of every suite that tries to break the project; `make torture` makes thousands."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.torture.__main__ import page
from tests.torture.disk import NOT_TRIED
from tests.torture.large import large_image, many_files
from tests.torture.suites import SUITES, run

FEW = {
    "packed-files": 150, "images": 300, "params": 60, "numbers": 12, "downloads": 25, "full-disk": 7,
    "read-only-disk": 7, "killed-upscaling": 2, "killed-training": 1,
}  # fmt: skip
ELSEWHERE = {
    "large",  # in small, below
    "random-order",  # of these tests themselves
    "guard-pages",  # in test_guard_pages
    "killed-pipeline",
    "lost-outputs",  # both in test_pipeline, which has a repository in which the pipeline has run
    "killed-verification",  # in zoo/test_zoo and cluster/test_zoo
    "killed-cluster",  # in cluster/test_zoo
}


@pytest.mark.parametrize("name", FEW)
def test_nothing_happens_that_must_not(tmp_path, name):
    outcomes, faults = run(SUITES[name][2], range(10**6, 10**6 + FEW[name]), tmp_path)
    if NOT_TRIED in outcomes:
        pytest.skip(NOT_TRIED)
    assert faults == [] and sum(outcomes.values()) == FEW[name]


def test_every_suite_is_tried():
    assert FEW.keys() | ELSEWHERE == SUITES.keys()


def test_many_files_with_one_damaged_and_an_image_of_many_tiles(tmp_path):
    assert "49 files were upscaled" in many_files(3, tmp_path, 50)
    assert "megapixels" in large_image(3, tmp_path, 2500)


def test_a_fault_is_counted_with_its_seed(tmp_path):
    def attempt(seed, folder):
        assert seed % 2, "even"
        return "odd"

    outcomes, faults = run(attempt, range(4), tmp_path)
    assert outcomes == {"odd": 2} and [fault.split(": ")[:3] for fault in faults] == [
        ["seed 0", "AssertionError", "even assert (0 % 2)"],
        ["seed 2", "AssertionError", "even assert (2 % 2)"],
    ]


def test_the_counts_are_written(tmp_path):
    command = [sys.executable, "-m", "tests.torture", "--suites", "params", "images", "--share", "0.001"]
    done = subprocess.run([*command, "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counted = json.loads((tmp_path / "faults.json").read_text())["suites"]
    assert {name: sum(each["outcomes"].values()) for name, each in counted.items()} == {"params": 5, "images": 20}
    assert "| an image file is cut or changed | 20 |" in (tmp_path / "faults.md").read_text()


def test_the_committed_counts_are_of_every_suite_and_none_failed():
    counted = json.loads((ROOT / "docs/faults.json").read_text())["suites"]
    assert counted.keys() == SUITES.keys()
    assert (ROOT / "docs/faults.md").read_text() == page(counted)
    for name, each in counted.items():
        assert each["failed"] == [] and sum(each["outcomes"].values()) == each["tries"] > FEW.get(name, 0), name
