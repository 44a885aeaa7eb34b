"""Packed files that lie: refused in one line before anything is built, and by PyTorch and the engine alike."""

from __future__ import annotations

import json
import struct
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from pipeline import packed_rules
from pipeline.engine import Engine
from pipeline.engine.calibration import calibrate
from pipeline.errors import InputError
from pipeline.packed import read
from pipeline.packing import load
from tests.engine.random_networks import save_random
from tests.small import picture

SIZES = {"srresnet": {"blocks": 1, "channels": 8}, "edsr": {"blocks": 2, "channels": 8, "residual_scale": 0.5}}
SIZES |= {"vdsr": {"layers": 4, "channels": 8}}


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Return the files of small calibrated networks, by model."""
    folder = tmp_path_factory.mktemp("networks")
    for model, sizes in SIZES.items():
        save_random(folder / model, model, 2, **sizes)
        save_random(
            folder / model, model, 2, metadata={"activations": calibrate(folder / model, [picture(0)])}, **sizes
        )
    return {model: folder / model for model in SIZES}


def changed(path, target, change):
    """Write a copy of a packed file after `change(tensors, header)`."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["binsr"])
    tensors = load_file(path)
    text = change(tensors, header)
    save_file(tensors, target, {"binsr": text if isinstance(text, str) else json.dumps(header)})


def outcome(action):
    """Return None, or the line that refuses; any other error fails the test."""
    try:
        action()
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 800
        return str(error)
    return None


def refusals(path):
    """Return what PyTorch, and the engine in three modes, say of a file; both read nothing that is not finite."""
    torch = outcome(lambda: load(path))
    engine = outcome(lambda: Engine.load(path))
    outcome(lambda: Engine.load(path, "int8", float_layers="int8"))
    outcome(lambda: Engine.load(path, "int6"))
    return torch, engine


def config(**values):
    return lambda tensors, header: header["network"].update(values)


def tensor(name, value):
    return lambda tensors, header: tensors.update({name: value})


LIES = {
    "blocks": config(blocks=10**9),
    "channels": config(channels=3000),
    "residual scale, NaN": config(residual_scale=float("nan")),
    "residual scale, huge": config(residual_scale=1e308),
    "residual scale, digits": config(residual_scale=10**400),
    "residual scale, text": config(residual_scale="1"),
    "scale, text": config(scale="2"),
    "scale, float": config(scale=2.0),
    "scale, true": config(scale=True),
    "model, list": config(model=["edsr"]),
    "model, number": config(model=3),
    "weights": config(weights=None),
    "unknown argument": config(depth=3),
    "scope": config(scope=[]),
    "a tensor called blocks": tensor("blocks", np.zeros(3, np.float32)),
    "a block without a number": tensor("blocks.x.conv1.weight", np.zeros((8, 8, 3, 3), np.float32)),
    "a block far away": tensor("blocks.99.conv1.weight", np.zeros((8, 8, 3, 3), np.float32)),
    "a tensor that nobody reads": tensor("more", np.zeros(3, np.float32)),
    "a scalar bias": tensor("head.bias", np.zeros((), np.float32)),
    "an empty bias": tensor("head.bias", np.zeros(0, np.float32)),
    "a bias for another width": tensor("head.bias", np.zeros(1, np.float32)),
    "a weight that is not finite": tensor("head.bias", np.full(8, np.nan, np.float32)),
    "float64": tensor("head.bias", np.zeros(8, np.float64)),
    "integers": tensor("head.bias", np.zeros(8, np.int32)),
    "no numbers of channels": lambda tensors, header: header["binary"].update({"blocks.0.conv1": "8"}),
    "negative channels": lambda tensors, header: header["binary"].update({"blocks.0.conv1": -1}),
    "a deep header": lambda tensors, header: "[" * 100_000 + "]" * 100_000,
    "many digits": lambda tensors, header: json.dumps(header).replace('"scale": 2', '"scale": ' + "2" * 5000),
    "a mode of another kind": lambda tensors, header: header["metadata"].update(mode="int8"),
    "an unknown mode": lambda tensors, header: header["metadata"].update(mode={"activations": "int4"}),
    "half a mode": lambda tensors, header: header["metadata"].update(mode={"activations": "int8"}),
    "a mode without its loss": lambda tensors, header: header["metadata"].update(
        mode={"activations": "int8", "float_layers": "int8", "loss_db": None}
    ),
    "no object": lambda tensors, header: "[]",
}


@pytest.mark.parametrize("change", LIES.values(), ids=LIES)
def test_a_lie_is_refused_at_once_by_both(networks, tmp_path, change):
    path = tmp_path / "lie.safetensors"
    changed(networks["edsr"], path, change)
    start = time.process_time()
    torch, engine = refusals(path)
    assert torch and engine
    assert str(path) in torch and str(path) in engine
    assert time.process_time() - start < 20  # not the minutes and gigabytes that the header asks for


@pytest.mark.parametrize(
    "ends", [[0, 1e-44], [0, 10**400], [float("nan"), 1], [1, 0, 2], "01", [True, 2], [0, 1e308], {}, [-1e-300, 0]]
)
def test_ranges_that_hold_nothing_are_refused(networks, tmp_path, ends):
    def change(tensors, header):
        header["metadata"]["activations"]["int8"]["blocks.0.conv1"] = ends

    path = tmp_path / "lie.safetensors"
    changed(networks["edsr"], path, change)
    with pytest.raises(InputError, match=r"int8\.blocks\.0\.conv1"):
        Engine.load(path, "int8")
    assert outcome(lambda: Engine.load(path)) is None  # float32 activations need no ranges


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]) | st.just({})


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(SIZES)), st.data())
def test_whatever_the_header_says_both_agree(networks, tmp_path_factory, model, data):
    """One value anywhere in the header is another one."""
    path = tmp_path_factory.mktemp("file") / "network.safetensors"

    def change(tensors, header):
        at = header
        while isinstance(at, dict) and at:
            key = data.draw(st.sampled_from(sorted(at)))
            if not isinstance(at[key], dict) or not at[key] or data.draw(st.booleans()):
                at[key] = data.draw(VALUES)
                return
            at = at[key]

    changed(networks[model], path, change)
    torch, engine = refusals(path)
    assert (torch is None) == (engine is None), (torch, engine)
    if engine is None:
        assert np.isfinite(Engine.load(path).forward(np.zeros((1 if model == "vdsr" else 3, 5, 6), np.float32))).all()


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(list(SIZES)), st.integers(0, 10**9), st.integers(0, 255))
def test_a_byte_that_changed_is_no_traceback(networks, tmp_path_factory, model, place, value):
    data = bytearray(networks[model].read_bytes())
    data[place % min(len(data), 3000)] = value  # in the header, mostly
    path = tmp_path_factory.mktemp("file") / "network.safetensors"
    path.write_bytes(bytes(data))
    torch, engine = refusals(path)
    assert (torch is None) == (engine is None), (torch, engine)


def test_published_networks_obey(networks):
    for path in networks.values():
        assert read(path).config and refusals(path) == (None, None)


def test_tensors_have_one_float_type_and_bits_another():
    floats = {"head.weight": np.ones((1, 1, 1, 1), np.float16), "head.bias": np.ones(1, np.float16)}
    packed_rules.check_tensors(floats | {"a.bits": np.ones((1, 1, 1, 1), np.uint8)})
    for wrong in ({"head.bias": np.ones(1, np.float32)}, {"head.bias": np.ones(1, np.uint8)}, {"a.bits": np.ones(1)}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))}: is "):
            packed_rules.check_tensors(floats | wrong)
