"""Large images: the memory of a published network in a process of its own."""

import json

import pytest

from pipeline.commands.large import main
from pipeline.errors import InputError


def test_the_memory_of_a_process_is_recorded(tmp_path):
    main(height=90, width=130, models=["vdsr-x2-binary"], out=tmp_path)
    record = json.loads((tmp_path / "large.json").read_text())
    (network,) = record["networks"]
    assert record["lr_size"] == [90, 130] and network["network"] == "vdsr-x2-binary"
    assert network["images_mib"] == round(3 * 90 * 130 * 5 / 2**20, 1)
    assert 20 < network["peak_mib"] < 2000 and network["seconds"] > 0
    text = (tmp_path / "large.md").read_text()
    assert "130×90 pixels" in text and f"| vdsr-x2-binary | {network['activations']} |" in text


def test_an_unknown_network_is_named(tmp_path):
    with pytest.raises(InputError, match="--models: nothing is not published; see binsr models"):
        main(models=["nothing"], out=tmp_path)
    assert not list(tmp_path.iterdir())
