"""`binsr info` says what is in the file."""

import json
import math

import pytest
from safetensors.numpy import load_file

from pipeline.engine.ranges import BITS, FLOAT_LAYERS
from pipeline.models import build
from pipeline.packed import OBJECTS_IN_METADATA
from pipeline.packing import save
from tests.engine.random_networks import save_random

SMALL = {
    "srresnet": {"blocks": 2, "channels": 9},
    "edsr": {"blocks": 2, "channels": 9, "residual_scale": 0.1},
    "vdsr": {"layers": 4, "channels": 9},
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("weights", ["float", "binary"])
@pytest.mark.parametrize("model", SMALL)
def test_layers_and_bytes(tmp_path, binsr, model, weights, dtype):
    path = tmp_path / "n.safetensors"
    save_random(path, model, 3, weights, {}, dtype, **SMALL[model])
    about = json.loads(binsr("info", path, "--json").out)
    tensors = load_file(path)
    module = build(model, 3, weights, **SMALL[model])
    filters = {name.removesuffix(".weight"): v for name, v in module.state_dict().items() if v.ndim == 4}
    assert {layer["name"]: layer["shape"] for layer in about["layers"]} == {
        k: list(v.shape) for k, v in filters.items()
    }
    for layer in about["layers"]:
        bits = f"{layer['name']}.bits"
        assert layer["kind"] == ("binary" if bits in tensors else "float")
        held = (bits, f"{layer['name']}.alpha") if bits in tensors else (f"{layer['name']}.weight",)
        assert layer["bytes"] == sum(tensors[name].nbytes for name in held)
        assert layer["bits_per_weight"] == round(8 * layer["bytes"] / math.prod(layer["shape"]), 3)
    stored = about["bytes"]
    assert stored["file"] == path.stat().st_size == sum(stored.values()) - stored["file"]
    assert sum(stored.values()) - stored["file"] - stored["header"] == sum(v.nbytes for v in tensors.values())
    assert sum(about["weights"].values()) == sum(value.numel() for value in filters.values())
    assert about["compression"] == round(about["float32_bytes"] / path.stat().st_size, 3)


@pytest.mark.parametrize("model", SMALL)
def test_float32_bytes_are_those_of_the_float_twin(tmp_path, binsr, model):
    save(build(model, 2, "float", **SMALL[model]), tmp_path / "float.safetensors")
    save(build(model, 2, "binary", **SMALL[model]), tmp_path / "binary.safetensors")
    twin = sum(value.nbytes for value in load_file(tmp_path / "float.safetensors").values())
    for weights in ("float", "binary"):
        assert json.loads(binsr("info", tmp_path / f"{weights}.safetensors", "--json").out)["float32_bytes"] == twin


def test_a_published_network_in_text(zoo, binsr):
    done = binsr("info", "srresnet-x2-binary")
    assert done.code == 0
    lines = {line.split()[0]: line for line in done.out.splitlines() if line}
    assert lines["blocks.0.conv1"].split() == ["blocks.0.conv1", "binary", "8×8×3×3", "1.44", "104"]
    assert "float32, int8" in lines["activations"] and "int6" not in lines["activations"]
    assert "99" in lines["iterations"] and lines["seed"].split() == ["seed", "7"] and "BSDS500-train" in done.out
    told = json.loads(binsr("info", "srresnet-x2-binary", "--json").out)
    assert told["name"] == "srresnet-x2-binary" and told["training"]["iterations"] == 99
    assert told["activations"] == ["float32", "int8"]
    assert json.loads(binsr("info", "srresnet-x2-float", "--json").out)["activations"] == ["float32"]


def test_an_imported_network_names_its_origin_and_licence(tmp_path, binsr):
    path = tmp_path / "n.safetensors"
    origin = {"file": "a.mat", "sha256": "0", "address": "https://example.org/a.mat", "licence": "MIT licence"}
    training = {"variant": "imported", "plan": {"profile": "imported"}, "imported": origin}
    save(build("vdsr", 2, "float", layers=4, channels=9), path, {"training": training})
    lines = dict(line.split(maxsplit=1) for line in binsr("info", path).out.splitlines() if line)
    assert lines["imported"] == origin["address"] and lines["licence"] == origin["licence"]


def test_a_network_that_does_not_say_how_it_was_trained(network, binsr):
    assert "not recorded" in binsr("info", network).out


@pytest.mark.parametrize("field", OBJECTS_IN_METADATA)
def test_metadata_that_are_no_objects_are_named(tmp_path, binsr, field):
    path = tmp_path / "n.safetensors"
    for value in ("x", [], 3):
        save(build("srresnet", 2, "binary", blocks=1, channels=8), path, nested(field, value))
        done = binsr("info", path)
        assert done.code == 2 and done.out == "" and done.err.count("\n") == 1
        assert f"{path}: metadata.{field}: " in done.err and "save the network again" in done.err
    save(build("srresnet", 2, "binary", blocks=1, channels=8), path, nested(field, None))
    assert binsr("info", path).code == 0


def nested(field, value):
    for name in reversed(field.split(".")):
        value = {name: value}
    return value


def test_all_that_the_engine_reads_of_metadata_is_checked():
    kinds = {f"activations.{kind}" for kind in (*BITS, FLOAT_LAYERS)}
    assert kinds == {field for field in OBJECTS_IN_METADATA if field.startswith("activations.")}


@pytest.mark.parametrize("name", ["no-such-network", "broken.safetensors"])
def test_what_is_no_network(tmp_path, zoo, binsr, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    done = binsr("info", name)
    assert done.code == 2 and name in done.err and done.err.count("\n") == 1 and done.out == ""
