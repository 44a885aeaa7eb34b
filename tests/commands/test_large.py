"""Large images: the memory of a published network in a process of its own."""

import json
import sys

import pytest
from PIL import Image

from pipeline.commands import large
from pipeline.commands.large import main, run_measured
from pipeline.errors import InputError
from tests.conftest import ROOT


def test_the_memory_of_a_process_is_recorded(tmp_path):
    main(height=90, width=130, models=["vdsr-x2-binary"], out=tmp_path)
    record = json.loads((tmp_path / "large.json").read_text())
    (network,) = record["networks"]
    assert record["lr_size"] == [90, 130] and network["network"] == "vdsr-x2-binary"
    assert network["images_mib"] == round(3 * 90 * 130 * 5 / 2**20, 1)
    assert 20 < network["peak_mib"] < 2000 and network["seconds"] > 0
    text = (tmp_path / "large.md").read_text()
    assert "130×90 pixels" in text and f"| vdsr-x2-binary | {network['activations']} |" in text


def test_what_this_process_holds_does_not_count(tmp_path):
    held = b"x" * 2**28
    ended, peak = run_measured([sys.executable, "-c", "import sys; print('a\\nb'); sys.exit(3)"])
    assert peak < len(held) / 2 and ended.returncode == 3 and ended.stdout == "a\nb\n"


def test_a_small_image_goes_first_so_that_compiling_does_not_count(tmp_path, monkeypatch):
    sizes = []

    def run(command, **options):
        sizes.append(Image.open(command[4]).size)
        return run_measured(command, **options)

    monkeypatch.setattr(large, "run_measured", run)
    main(height=20, width=30, models=["vdsr-x2-binary"], out=tmp_path)
    assert sizes == [(16, 16), (30, 20)]


def test_an_unknown_network_is_named(tmp_path):
    with pytest.raises(InputError, match="--models: nothing is not published; see binsr models"):
        main(models=["nothing"], out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_committed_page_is_that_of_its_data():
    record = json.loads((ROOT / "docs/large.json").read_text())
    assert (ROOT / "docs/large.md").read_text() == large.page(record)
