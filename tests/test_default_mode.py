"""The default mode of a network: the fastest that loses little, stored in its file, and taken unless told otherwise."""

import json

import numpy as np
import pytest
from PIL import Image

from pipeline import default_mode
from pipeline.engine import Engine
from pipeline.engine.calibration import calibrate
from pipeline.engine.modes import MODES
from pipeline.errors import InputError
from pipeline.metrics import psnr
from pipeline.packed import read, write
from tests.engine.random_networks import save_random
from tests.small import picture

SIZES = {"srresnet": {"blocks": 1}, "edsr": {"blocks": 1, "residual_scale": 1.0}, "vdsr": {"layers": 4}}
PAIRS = [(picture(seed, 20, 18), picture(seed, 40, 36)) for seed in range(3)]


def stored(packed, mode):
    return type(packed)(
        packed.config, packed.metadata | {"mode": mode}, packed.binary, packed.tensors, packed.float_type
    )


@pytest.fixture(params=SIZES)
def packed(request, tmp_path):
    """A calibrated binary network, with the path of its file."""
    path = tmp_path / "network.safetensors"
    save_random(path, request.param, 2, channels=8, **SIZES[request.param])
    packed = read(path)
    images = [lr for lr, _ in PAIRS]
    packed = type(packed)(
        packed.config, {"activations": calibrate(packed, images)}, packed.binary, packed.tensors, packed.float_type
    )
    write(packed, path)
    return packed


@pytest.mark.parametrize("most", [-99.0, -1e-3, 0.0, 0.01, 0.1, 99.0])
def test_it_is_the_first_mode_within_the_limit(packed, monkeypatch, most):
    monkeypatch.setattr(default_mode, "MOST_LOSS_DB", most)
    chosen = default_mode.default_mode(packed, PAIRS)

    def mean(**mode):
        engine = Engine(packed, **mode)
        return np.mean([psnr(engine.upscale(lr), hr, border=2) for lr, hr in PAIRS])

    losses = {name: mean(activations="float32") - mean(**MODES[name]) for name in default_mode.FASTEST_FIRST}
    within = [name for name, loss in losses.items() if loss <= most]
    expected = {"activations": "float32", "float_layers": "float32", **(MODES[within[0]] if within else {})}
    assert chosen == expected | {"loss_db": round(max(losses[within[0]], 0.0), 4) if within else 0.0}


def test_it_is_taken_unless_told_otherwise(packed):
    image = picture(9, 12, 14)
    exact, rounded = (Engine(packed, kind).upscale(image) for kind in ("float32", "int6"))
    everywhere = Engine(packed, "int6", float_layers="int8").upscale(image)
    assert not np.array_equal(exact, rounded) and not np.array_equal(rounded, everywhere)
    assert np.array_equal(Engine(packed).upscale(image), exact)  # a file that names no mode
    named = stored(packed, {"activations": "int6", "float_layers": "int8", "loss_db": 0.0})
    assert np.array_equal(Engine(named).upscale(image), everywhere)
    assert (Engine(named).activations, Engine(named).float_layers) == ("int6", "int8")
    assert np.array_equal(Engine(named, float_layers="float32").upscale(image), rounded)
    assert np.array_equal(Engine(named, "float32").upscale(image), exact)
    assert np.array_equal(Engine(named, "int6").upscale(image), rounded)


def test_a_mode_without_its_ranges_is_named(packed):
    mode = {"activations": "int8", "float_layers": "float32", "loss_db": 0.0}
    without = type(packed)(packed.config, {"mode": mode}, packed.binary, packed.tensors, packed.float_type)
    with pytest.raises(InputError, match=r"metadata\.activations\.int8"):
        Engine(without)
    assert Engine(without, "float32").upscale(picture(0, 8, 9)).shape == (16, 18, 3)


def test_the_command_line_takes_it_and_says_so(packed, tmp_path, capsys):
    from pipeline.cli.app import main

    path, image = tmp_path / "named.safetensors", picture(9, 12, 14)
    write(stored(packed, {"activations": "int6", "float_layers": "int8", "loss_db": 0.0042}), path)
    Image.fromarray(image).save(tmp_path / "a.png")

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        assert not stopped.value.code
        return capsys.readouterr().out

    for options, taken in (
        ((), ("int6", "int8")),
        (("--activations", "float32"), ("float32", "float32")),
        (("--float-layers", "float32"), ("int6", "float32")),
    ):
        command = ("upscale", tmp_path / "a.png", "-o", tmp_path / "b.png", "--model", path, "--overwrite", "--json")
        about = json.loads(run(*command, *options))
        assert (about["activations"], about["float_layers"]) == taken
        expected = Engine(packed, taken[0], float_layers=taken[1]).upscale(image)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), expected)
    assert "int6 activations, float layers int8; loses 0.0042 dB" in run("info", path)
