"""What rounding costs layer by layer: the rows, their losses by another way, and the page."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.commands.rounding import layer_losses, page
from pipeline.engine import Engine
from pipeline.engine.calibration import calibrate
from pipeline.metrics import psnr
from pipeline.packed import read
from tests.conftest import ROOT
from tests.engine.random_networks import save_random
from tests.small import picture

CROPS = [picture(seed, 24, 20) for seed in range(2)]
PAIRS = [(picture(seed, 20, 18), picture(seed, 40, 36)) for seed in range(2, 4)]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    path = tmp_path_factory.mktemp("rounding") / "network.safetensors"
    save_random(path, "edsr", 2, channels=8, blocks=2, residual_scale=1.0)
    return read(path)


def test_each_layer_by_itself_loses_what_an_engine_loses_that_keeps_all_others_exact(packed):
    rows = layer_losses(packed, CROPS, PAIRS)
    ranges = calibrate(packed, CROPS, exact_layers={})

    def quality(metadata, **mode):
        engine = Engine(replace(packed, metadata=metadata), **mode)
        return np.mean([psnr(engine.upscale(lr), hr, border=2) for lr, hr in PAIRS])

    exact = quality({}, activations="float32")
    binary = [row for row in rows if row["filters"] == "binary"]
    assert [(row["layer"], row["bits"]) for row in binary] == [
        (name, bits) for bits in (8, 6) for name in packed.binary
    ]
    for row in binary:
        kind = f"int{row['bits']}"
        alone = dict.fromkeys(packed.binary) | {row["layer"]: ranges[kind][row["layer"]]}
        assert row["loss_db"] == round(exact - quality({"activations": {kind: alone}}, activations=kind), 4)
    assert any(row["loss_db"] != 0 for row in binary)


def test_float_layers_have_eight_bits_and_the_first_is_left_out(packed):
    layers = {row["layer"]: row["bits"] for row in layer_losses(packed, CROPS, PAIRS) if row["filters"] == "float"}
    expected = {name.removesuffix(".weight") for name in packed.tensors if name.endswith(".weight")} - {"head"}
    assert layers == dict.fromkeys(expected, 8)


def test_the_page_has_the_most_expensive_layers_and_the_sum_of_the_others():
    losses = {"a": 0.01, "b": 0.3, "c": 0.002, "d": 0.2, "e": 0.004}
    rows = [
        {"network": "edsr-x2-binary", "layer": name, "filters": "binary", "bits": bits, "loss_db": loss * (9 - bits)}
        for bits in (8, 6)
        for name, loss in losses.items()
    ]
    lines = [line for line in page(rows).splitlines() if line.startswith("| edsr")]
    assert lines[:4] == [
        "| edsr-x2-binary | 8 | b | 0.300 |",
        "| edsr-x2-binary | 8 | d | 0.200 |",
        "| edsr-x2-binary | 8 | a | 0.010 |",
        "| edsr-x2-binary | 8 | the other 2 | 0.006 |",
    ]
    assert lines[7] == "| edsr-x2-binary | 6 | the other 2 | 0.018 |"


def test_the_committed_page_is_that_of_its_data():
    rows = pd.read_csv(ROOT / "docs/rounding.csv").to_dict("records")
    assert (ROOT / "docs/rounding.md").read_text() == page(rows)
