"""Networks of other projects, read into this one's."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.io import savemat
from torch import Tensor, nn

import stages.train
from pipeline import importing
from pipeline.data.download import fetch
from pipeline.data.preparation import prepare
from pipeline.data.prepared import PreparedSet
from pipeline.data.registry import dataset
from pipeline.engine import Engine
from pipeline.errors import InputError
from pipeline.evaluation.protocol import score
from pipeline.importing import import_network
from pipeline.inference import upscale
from pipeline.models import build
from pipeline.packing import save
from pipeline.profiles import compose
from tests.conftest import ROOT, SHARED

MIRROR = SHARED / "mirror"
MEAN = torch.tensor([0.4488, 0.4371, 0.4040]).reshape(1, 3, 1, 1)
CHANNELS, BLOCKS = 8, 2


class AuthorsEDSR(nn.Module):
    """EDSR as EDSR-PyTorch computes it: levels of 0 to 255, the mean shifted by convolutions."""

    def __init__(self, scale: int) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, padding=1)

        self.sub_mean, self.add_mean = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        for shift, sign in ((self.sub_mean, -1), (self.add_mean, 1)):
            shift.weight.data = torch.eye(3).reshape(3, 3, 1, 1)
            shift.bias.data = sign * 255 * MEAN.flatten()
        self.head = nn.Sequential(conv(3, CHANNELS))
        blocks = []
        for _ in range(BLOCKS):
            block = nn.Module()
            block.body = nn.Sequential(conv(CHANNELS, CHANNELS), nn.ReLU(), conv(CHANNELS, CHANNELS))
            blocks.append(block)
        self.body = nn.ModuleList([*blocks, conv(CHANNELS, CHANNELS)])
        steps: list[nn.Module] = []
        for factor in (2, 2) if scale == 4 else (scale,):
            steps += [conv(CHANNELS, CHANNELS * factor**2), nn.PixelShuffle(factor)]
        self.tail = nn.Sequential(nn.Sequential(*steps), conv(CHANNELS, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.sub_mean(x))
        y = x
        for block in list(self.body)[:-1]:
            y = y + block.body(y)
        return self.add_mean(self.tail(x + self.body[-1](y)))


class BasicEDSR(nn.Module):
    """EDSR as BasicSR computes it: levels of 0 to 1 outside, times 255 inside."""

    def __init__(self, scale: int) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, padding=1)

        self.conv_first = conv(3, CHANNELS)
        self.body = nn.ModuleList()
        for _ in range(BLOCKS):
            block = nn.Module()
            block.conv1, block.conv2 = conv(CHANNELS, CHANNELS), conv(CHANNELS, CHANNELS)
            self.body.append(block)
        self.conv_after_body = conv(CHANNELS, CHANNELS)
        steps: list[nn.Module] = []
        for factor in (2, 2) if scale == 4 else (scale,):
            steps += [conv(CHANNELS, CHANNELS * factor**2), nn.PixelShuffle(factor)]
        self.upsample = nn.Sequential(*steps)
        self.conv_last = conv(CHANNELS, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_first((x - MEAN) * 255)
        y = x
        for block in self.body:
            y = y + block.conv2(torch.relu(block.conv1(y)))
        return self.conv_last(self.upsample(self.conv_after_body(y) + x)) / 255 + MEAN


@pytest.mark.skipif(not MIRROR.is_dir(), reason="needs the image sets in ../shared/mirror")
def test_the_public_vdsr_scores_what_its_authors_say(tmp_path, monkeypatch):
    monkeypatch.setenv("SR_MIRROR", str(MIRROR))
    for name in ("VDSR", "Set5"):
        fetch(dataset(name), tmp_path / "data/raw" / name)
    prepare(tmp_path / "data/raw/Set5", tmp_path / "Set5", (2, 3, 4))
    images = PreparedSet.open(tmp_path / "Set5")
    module = import_network(tmp_path / "data/raw/VDSR/VDSR_Adam.mat", "vdsr")
    published = pandas.read_csv(ROOT / "zoo/results.csv").set_index(["method", "set", "backend"])
    for scale, theirs in ((2, 37.576), (3, 33.677), (4, 31.320)):  # in their words 37.58, 33.68, 31.33
        values = published.loc[(f"vdsr-x{scale}-float-imported", "Set5", "torch")].set_index("image")["psnr_y"]
        assert values.mean() == pytest.approx(theirs, abs=0.002)
        for index in (2, 4):  # the two smallest: the others would take minutes
            sr = upscale(module, images.lr(index, scale), scale)
            found = score(images.names[index], sr, images.hr(index, scale), scale)
            assert found.psnr_y == pytest.approx(values[found.image], abs=0.002)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_edsr_of_its_authors_computes_the_same(tmp_path, scale):
    torch.manual_seed(scale)
    theirs, lr = AuthorsEDSR(scale), torch.rand(2, 3, 7, 9)
    torch.save(theirs.state_dict(), tmp_path / "edsr.pt")
    ours = import_network(tmp_path / "edsr.pt", "edsr")
    assert (ours.config["scale"], ours.config["blocks"], ours.config["residual_scale"]) == (scale, BLOCKS, 1.0)
    with torch.no_grad():
        assert torch.allclose(ours(lr), theirs(255 * lr) / 255, atol=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_edsr_of_basicsr_computes_the_same(tmp_path, scale):
    torch.manual_seed(scale)
    theirs, lr = BasicEDSR(scale), torch.rand(2, 3, 7, 9)
    torch.save({"params": theirs.state_dict()}, tmp_path / "edsr.pth")
    ours = import_network(tmp_path / "edsr.pth", "edsr", scale)
    with torch.no_grad():
        assert torch.allclose(ours(lr), theirs(lr), atol=1e-5)


@pytest.mark.parametrize("project", [AuthorsEDSR, BasicEDSR])
def test_the_large_edsr_has_its_residual_scale(tmp_path, monkeypatch, project):
    monkeypatch.setitem(globals(), "CHANNELS", 256)
    theirs, lr = project(2), torch.rand(1, 3, 6, 5)
    torch.save(theirs.state_dict(), tmp_path / "edsr.pt")
    ours = import_network(tmp_path / "edsr.pt", "edsr")
    for block in list(theirs.body)[:BLOCKS]:  # what they multiply by 0.1 comes from these
        for value in (block.conv2 if project is BasicEDSR else block.body[2]).parameters():
            value.data *= 0.1
    with torch.no_grad():
        expected = theirs(lr) if project is BasicEDSR else theirs(255 * lr) / 255
        assert torch.allclose(ours(lr), expected, atol=1e-5) and ours.config["residual_scale"] == 0.1


@pytest.mark.parametrize("key", ["params_ema", "params", "state_dict", "model"])
def test_tensors_are_found_in_what_wraps_them(tmp_path, key):
    state = BasicEDSR(2).state_dict()
    wrapped = {key: state, "epoch": 3}
    if key == "params_ema":  # the averaged weights go before the others
        wrapped["params"] = {name: torch.zeros_like(value) for name, value in state.items()}
    torch.save(wrapped, tmp_path / "a.pth")
    assert torch.equal(import_network(tmp_path / "a.pth", "edsr").head.weight, state["conv_first.weight"])
    half = {f"module.{name}": value.half() for name, value in state.items()}  # as data-parallel training names them
    torch.save(half, tmp_path / "b.pth")
    found = import_network(tmp_path / "b.pth", "edsr").head.weight
    assert torch.equal(found, half["module.conv_first.weight"].float())


def test_a_packed_network_keeps_what_no_tensor_tells(tmp_path):
    module = build("edsr", 4, "float", blocks=2, channels=8, residual_scale=0.3).eval()
    save(module, tmp_path / "a.safetensors")
    again, lr = import_network(tmp_path / "a.safetensors", "edsr", 4), torch.rand(1, 3, 6, 5)
    with torch.no_grad():
        assert again.config == module.config and torch.equal(again(lr), module(lr))


@pytest.mark.parametrize("rule", ["learnable", "analytic", "none"])
def test_a_binary_network_is_refused_whatever_its_scales(tmp_path, rule):
    path = tmp_path / "binary.safetensors"
    save(build("edsr", 2, "binary", blocks=1, channels=8, scale_rule=rule), path)  # two rules leave no scale in it
    with pytest.raises(InputError, match=r"binary\.safetensors: is a binary network; name a float one"):
        import_network(path, "edsr")


@pytest.mark.parametrize("packed", [True, False])
def test_our_own_files_are_read_packed_and_plain(tmp_path, packed):
    module = build("srresnet", 3, "float", blocks=2, channels=8).eval()
    path = tmp_path / "own.safetensors"
    if packed:
        save(module, path)
    else:
        save_file({name: value.contiguous() for name, value in module.state_dict().items()}, path)
    again, lr = import_network(path, "srresnet"), torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(again(lr), module(lr)) and again.config["scale"] == 3


class _Harmful:
    def __reduce__(self) -> Any:
        return os.mkdir, ("unpickled",)


def test_nothing_but_tensors_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"params": _Harmful()}, tmp_path / "harmful.pth")
    with pytest.raises(InputError, match="is not a checkpoint of tensors"):
        import_network(Path("harmful.pth"), "edsr")
    torch.save(_Harmful(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    Path("plain.pt").write_bytes(pickle.dumps({"params": _Harmful()}))
    for name in ("old.pt", "plain.pt"):
        with pytest.raises(InputError, match="is not a checkpoint of tensors"):
            import_network(Path(name), "edsr")
    assert not Path("unpickled").exists()
    torch.load(tmp_path / "harmful.pth", weights_only=False)
    assert Path("unpickled").exists()  # it would have done harm


def test_damaged_files_are_refused_in_one_line(tmp_path):
    """Cut or changed anywhere, a file gives a network or one line, never another error."""
    torch.save(BasicEDSR(2).state_dict(), tmp_path / "good.pth")
    cells = {"weight": np.empty(4, object), "bias": np.empty(4, object)}
    for i, (inputs, outputs) in enumerate(((1, 4), (4, 4), (4, 4), (4, 1))):
        cells["weight"][i], cells["bias"][i] = np.ones((3, 3, inputs, outputs)), np.zeros((outputs, 1))
    savemat(tmp_path / "good.mat", {"model": cells}, do_compression=True)
    rng, refused = np.random.default_rng(0), 0
    for good, model in ((tmp_path / "good.pth", "edsr"), (tmp_path / "good.mat", "vdsr")):
        import_network(good, model)
        whole = np.frombuffer(good.read_bytes(), np.uint8)
        damaged = [whole[:cut] for cut in rng.integers(0, len(whole), 20)]
        for _ in range(40):
            damaged.append(whole.copy())
            damaged[-1][rng.integers(0, min(len(whole), 2000), 10)] = rng.integers(0, 256, 10)
        for content in (whole[:0], *damaged):
            path = tmp_path / f"bad{good.suffix}"
            path.write_bytes(content.tobytes())
            try:
                import_network(path, model)
            except InputError as error:
                assert str(error).startswith(str(path)) and "\n" not in str(error)
                refused += 1
    assert refused > 60


def test_what_is_no_such_network_is_refused_in_one_line(tmp_path):
    torch.save(BasicEDSR(2).state_dict(), tmp_path / "edsr.pth")
    torch.save([torch.zeros(3)], tmp_path / "list.pt")
    torch.save({0: torch.zeros(3)}, tmp_path / "numbers.pt")
    torch.save({"a.weight": torch.zeros(3)}, tmp_path / "other.pt")
    savemat(tmp_path / "other.mat", {"a": np.zeros(3)})
    (tmp_path / "folder.pt").mkdir()
    save(build("vdsr", 2, "float", layers=3, channels=8), tmp_path / "vdsr.safetensors")
    save(build("vdsr", 2, "binary", layers=3, channels=8), tmp_path / "binary.safetensors")
    (tmp_path / "noise.mat").write_bytes(bytes(range(256)))
    (tmp_path / "noise.pt").write_bytes(bytes(range(256)))
    (tmp_path / "noise.safetensors").write_bytes(bytes(range(256)))
    (tmp_path / "network.onnx").touch()
    for name, model, scale, said in (
        ("edsr.pth", "vdsr", None, "is not a float vdsr"),
        ("edsr.pth", "edsr", 3, "--scale: the network is for scale 2, not 3"),
        ("binary.safetensors", "vdsr", None, "is a binary network"),
        ("noise.mat", "vdsr", None, "is not a VDSR of caffe-vdsr"),
        ("noise.pt", "edsr", None, "is not a checkpoint of tensors"),
        ("noise.safetensors", "edsr", None, "cannot be read as safetensors"),
        ("network.onnx", "edsr", None, "of no known kind"),
        ("missing.pt", "edsr", None, "no such file"),
        ("folder.pt", "edsr", None, "no such file"),
        ("list.pt", "edsr", None, "holds no dictionary of tensors"),
        ("numbers.pt", "edsr", None, "holds no dictionary of tensors"),
        ("other.pt", "edsr", None, "a.weight: is not a tensor of EDSR-PyTorch's or BasicSR's EDSR"),
        ("other.mat", "vdsr", None, "is not a VDSR of caffe-vdsr"),
        ("vdsr.safetensors", "edsr", None, "is not a float edsr"),
        ("vdsr.safetensors", "srresnet", None, "is not a float srresnet"),
    ):
        with pytest.raises(InputError) as refused:
            import_network(tmp_path / name, model, scale)
        assert said in str(refused.value) and name in str(refused.value) and "\n" not in str(refused.value)


def test_a_start_or_a_target_that_cannot_be_is_named(tmp_path, monkeypatch):
    """Run in this process, which is faster."""
    monkeypatch.chdir(tmp_path)
    compose("quick", tmp_path / "params.yaml", ROOT / "conf")
    train, absent = partial(stages.train.main, "edsr", 2, "binary"), Path("no.pth")
    for command, said in (
        (partial(train, start=absent), "no.pth: no such file"),
        (partial(train, distillation=0.5), "--distillation: is a share from 0 to 1, and needs"),
        (partial(importing.main, absent, "edsr", Path("a.pt")), "--out: a.pt: name a .safetensors file"),
        (partial(importing.main, absent, "edsr", Path("a.safetensors")), "no.pth: no such file"),
    ):
        with pytest.raises(InputError) as refused:
            command()
        assert str(refused.value).startswith(said) and "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def run(folder: Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_user_s_own_network_is_imported_binarized_packed_and_run(untrained, tmp_path):
    place = untrained.copy(tmp_path / "place")  # its EDSR has one block of 8 channels
    theirs = BasicEDSR(2)
    del theirs.body[1]
    torch.save({"params_ema": theirs.state_dict()}, place.folder / "edsr.pth")
    said = run(place.folder, "pipeline.importing", "edsr.pth", "--model", "edsr", "-o", "edsr.safetensors")
    assert said.startswith("edsr.safetensors: edsr ×2, ")
    lr = np.random.default_rng(0).integers(0, 256, (9, 8, 3), np.uint8)
    imported = import_network(place.folder / "edsr.pth", "edsr")
    assert (
        np.abs(Engine.load(place.folder / "edsr.safetensors").upscale(lr).astype(int) - upscale(imported, lr)).max()
        <= 1
    )
    network = ("--model", "edsr", "--scale", "2", "--weights", "binary")
    place.change(lambda params: params["train"]["edsr"].update(iterations=1, learning_rate=1e-9))
    run(place.folder, "stages.train", *network, "--start", "edsr.safetensors")
    trained = load_file(place.folder / "models/edsr-x2-binary.safetensors")
    assert torch.allclose(trained["head.weight"], theirs.conv_first.weight, atol=1e-6)
    run(place.folder, "stages.export", *network)
    sr = Engine.load(place.folder / "packed/edsr-x2-binary.safetensors", activations="int8").upscale(lr)
    assert sr.shape == (18, 16, 3)
