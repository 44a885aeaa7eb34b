"""Packed files: what is loaded computes what was saved, and sizes are what arithmetic says."""

import json
import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from pipeline.errors import InputError
from pipeline.models import MODELS, SCALES, build
from pipeline.networks import NETWORKS
from pipeline.packed import pack_bits, read, sizes, unpack_bits, write
from pipeline.packing import load, pack, save, unpack
from tests.conftest import ROOT
from tests.small import small_sizes

SMALL = {model: small_sizes(model, blocks=2, layers=5, channels=9, residual_scale=0.1) for model in MODELS}


def trained(model, scale, weights, **overrides):
    """A network whose every tensor is random, with negative and zero scales among them."""
    torch.manual_seed(1)
    module = build(model, scale, weights, **overrides)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.1 if "running_var" in name else torch.randn_like(value) / 4)
        if name.endswith("alpha"):
            value[0] = 0
    return module.eval()


@given(st.integers(1, 9), st.integers(1, 20), st.sampled_from([1, 3]), st.integers(0, 2**32 - 1))
def test_bits_round_trip(outputs, inputs, size, seed):
    positive = np.random.default_rng(seed).random((outputs, inputs, size, size)) < 0.5
    bits = pack_bits(positive)
    assert bits.shape == (outputs, size, size, -(-inputs // 8)) and bits.dtype == np.uint8
    assert np.array_equal(unpack_bits(bits, inputs), positive)


def test_bit_order_is_input_channels_from_the_lowest_bit():
    positive = np.zeros((1, 10, 1, 2), bool)
    positive[0, 0, 0, 0] = positive[0, 3, 0, 0] = positive[0, 9, 0, 1] = True
    assert pack_bits(positive).tolist() == [[[[0b1001, 0], [0, 0b10]]]]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    ("weights", "binarization"),
    [("float", {})]
    + [("binary", {"scale_rule": rule, "scope": "blocks"}) for rule in ("learnable", "analytic", "none")]
    + [("binary", {"scope": "all"})],
    ids=["float", "learnable", "analytic", "none", "all"],
)
def test_round_trip_is_bit_exact(tmp_path, model, scale, weights, binarization):
    module = trained(model, scale, weights, **SMALL[model], **binarization)
    metadata = {"training": {"iterations": 3}, "activations": {"x": 0.1}}
    written = save(module, tmp_path / "a.safetensors", metadata)
    loaded = load(tmp_path / "a.safetensors")
    image = torch.rand(1, NETWORKS[model].channels, 6, 7)
    assert torch.equal(loaded(image), module(image))
    assert loaded.config == module.config and loaded.metadata == metadata
    assert save(loaded, tmp_path / "b.safetensors", loaded.metadata) == written
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.safetensors", "b.safetensors"]


def test_float16_halves_the_float_part_and_round_trips(tmp_path):
    module = trained("edsr", 2, "binary", **SMALL["edsr"])
    save(module, tmp_path / "a.safetensors", float_dtype="float16")
    save(module, tmp_path / "single.safetensors")
    loaded = load(tmp_path / "a.safetensors")
    save(loaded, tmp_path / "b.safetensors", loaded.metadata, "float16")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    half, single = (
        sizes(read(tmp_path / "a.safetensors"))["layers"],
        sizes(read(tmp_path / "single.safetensors"))["layers"],
    )
    assert half["float"] * 2 == single["float"] and half["other"] * 2 == single["other"]
    image = torch.rand(1, 3, 6, 7)
    torch.testing.assert_close(loaded(image), module(image), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(("scale", "reduction"), [(2, 0.81), (4, 0.74)])
def test_srresnet_shrinks_as_arithmetic_says(tmp_path, scale, reduction):
    float_bytes = save(build("srresnet", scale), tmp_path / "float.safetensors")
    binary_bytes = save(build("srresnet", scale, "binary"), tmp_path / "binary.safetensors")
    assert 1 - binary_bytes / float_bytes == pytest.approx(reduction, abs=0.01)
    split = sizes(read(tmp_path / "binary.safetensors"))
    assert sum(split["parts"].values()) == sum(split["layers"].values())
    assert split["layers"]["binary"] == 32 * (64 * 64 * 9 // 8 + 64 * 4)
    assert split["bytes"] == binary_bytes == split["header"] + sum(split["layers"].values())


def broken(path, change):
    """Rewrite a packed file after `change(tensors, header)`."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["binsr"])
    tensors = load_file(path)
    change(tensors, header)
    save_file(tensors, path, {"binsr": json.dumps(header)})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda tensors, header: header.update(format=2), "format"),
        (lambda tensors, header: tensors.pop("blocks.0.conv1.bits"), "blocks.0.conv1.bits"),
        (lambda tensors, header: tensors.pop("blocks.0.conv1.alpha"), "blocks.0.conv1.alpha"),
        (lambda tensors, header: tensors.update({"blocks.0.conv1.bits": np.zeros((2, 2), np.uint8)}), "bits: shape"),
        (lambda tensors, header: tensors.pop("head.weight"), "head.weight"),
        (lambda tensors, header: header["network"].update(model="unknown"), "unknown"),
        (lambda tensors, header: header["network"].update(blocks=3), "blocks"),
        (lambda tensors, header: header.pop("network"), "network"),
    ],
)
def test_a_broken_file_is_named_in_one_line(tmp_path, change, named):
    path = tmp_path / "a.safetensors"
    save(build("edsr", 2, "binary", **SMALL["edsr"]), path)
    broken(path, change)
    with pytest.raises(InputError) as error:
        load(path)
    assert named in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "missing.safetensors")
    (tmp_path / "text").write_text("not safetensors")
    save_file({"a": np.zeros(1)}, tmp_path / "plain.safetensors")
    for name in ("text", "plain.safetensors"):
        with pytest.raises(InputError, match="not a packed network"):
            read(tmp_path / name)


def test_others_may_read_the_file_as_far_as_the_mask_lets_them(tmp_path):
    before = os.umask(0o027)
    try:
        save(trained("vdsr", 2, "binary", **SMALL["vdsr"]), tmp_path / "a.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("path", sorted((ROOT / "zoo").glob("*.safetensors")), ids=lambda path: path.stem)
def test_a_published_network_is_written_as_it_was_read(path, tmp_path):
    packed = read(path)
    assert write(packed, tmp_path / "again.safetensors") == path.stat().st_size == sizes(packed)["bytes"]
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("float_type", ["float32", "float16"])
def test_packed_in_memory_is_what_comes_back_from_the_file(tmp_path, float_type):
    module = build("srresnet", 2, "binary", blocks=1, channels=9)
    packed = pack(module, {"activations": None}, float_type)
    write(packed, tmp_path / "a.safetensors")
    back = read(tmp_path / "a.safetensors")
    assert (back.config, back.metadata, back.float_type) == (packed.config, packed.metadata, float_type)
    for ours, theirs in ((packed.binary, back.binary), (packed.tensors, back.tensors)):
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    one, other = unpack(packed).state_dict(), load(tmp_path / "a.safetensors").state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_could_not_be_read_is_not_written(tmp_path):
    path, module = tmp_path / "a.safetensors", build("srresnet", 2, "binary", blocks=1, channels=9)
    module.head.bias.data[3] = 1e5
    with pytest.raises(InputError, match=r"head\.bias: a number is too large for float16; set export\.float_dtype"):
        save(module, path, float_dtype="float16")
    with pytest.raises(InputError, match=r"a\.safetensors: metadata: a number is not finite"):
        save(module, path, {"training": {"psnr_y": float("inf")}})
    module.blocks[0].norm1.running_var[3] = float("nan")
    with pytest.raises(
        InputError, match=r"a\.safetensors: blocks\.0\.norm1\.running_var: has numbers that are not fin"
    ):
        save(module, path)
    assert list(tmp_path.iterdir()) == []
