"""Planned trainings: float and binary networks in lockstep, what is refused, and what is recorded."""

import os
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import yaml

from pipeline.data.prepared import PreparedSet
from pipeline.engine import Engine
from pipeline.errors import InputError
from pipeline.exporting import export
from pipeline.models import build
from pipeline.models.binarize import BinaryConv2d
from pipeline.networks import NETWORKS
from pipeline.params import load_params
from pipeline.runs import Run, prepared_folder
from pipeline.training import loop as training
from pipeline.training.distributed import Process
from pipeline.training.interruption import Interruption
from pipeline.training.run import Plan, Start, train_planned, validation_images
from tests.conftest import ROOT
from tests.small import settings, write_sets

ALONE = Process(0, 1, torch.device("cpu"))
SIZES = {"srresnet": {"blocks": 1}, "edsr": {"blocks": 1}, "vdsr": {"layers": 4}}
BINARY = {"scale_rule": "learnable", "scope": "blocks"}


@pytest.fixture
def place(tmp_path_factory, monkeypatch):
    """Sets of pictures where a plan looks for them."""
    folder = tmp_path_factory.getbasetemp() / "planned"
    if not folder.exists():
        write_sets(folder, "embedded-train", "embedded-valid", height=48, width=40)
    monkeypatch.chdir(folder)
    yield
    torch.use_deterministic_algorithms(False)  # which a training sets for its whole process


def plan(model="edsr", weights="float", scales=(2,), channels=8, start=None, distillation=0.0, seed=3, **changes):
    sizes = SIZES[model] | {"channels": channels} | (BINARY if weights == "binary" else {})
    chosen = settings(**({"patch": {"size": 24, "of": "hr"}, "batch": 6} | changes))
    return Plan(model, scales, weights, sizes, chosen, seed, "embedded-train", "embedded-valid", 2, start, distillation)


def start_of(model="edsr", channels=8, **sizes):
    torch.manual_seed(9)
    module = build(model, 2, "float", **(SIZES[model] | {"channels": channels} | sizes))
    return Start("a.safetensors", "0" * 64, module.state_dict())


def seen(planned, folder, monkeypatch):
    """What a network and its loss are given in a training, iteration by iteration."""
    inputs, targets = [], []

    def look(module, arguments):
        if module.training and hasattr(module, "config"):  # the whole network, in its training
            inputs.append(arguments[0].clone())

    def loss(outputs, wanted, given=training.LOSSES["l1"]):
        targets.append(wanted.clone())
        return given(outputs, wanted)

    handle = torch.nn.modules.module.register_module_forward_pre_hook(look)
    with monkeypatch.context() as patch, handle:
        patch.setitem(training.LOSSES, "l1", loss)
        trained = train_planned(planned, folder, ALONE)
    assert trained.finished and len(inputs) == len(targets) == planned.settings.iterations
    return inputs, targets


@pytest.mark.parametrize(
    ("model", "scales"), [("srresnet", (2,)), ("edsr", (4,)), ("vdsr", (2, 3, 4))], ids=["srresnet", "edsr", "vdsr"]
)
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_pair_sees_the_same_crops_in_the_same_order(tmp_path, model, scales, optimizer, monkeypatch, place):
    def crops(weights, seed=3):
        made = plan(model, weights, scales, 32 if optimizer == "muon" else 8, seed=seed, optimizer=optimizer)
        return seen(made, tmp_path / f"{weights}{seed}", monkeypatch)

    real, binary, other = crops("float"), crops("binary"), crops("binary", seed=4)
    for one, same, another in zip(real, binary, other, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
        assert not any(torch.equal(a, b) for a, b in zip(one, another, strict=True))
        assert not torch.equal(one[0], one[1])  # nor do they repeat


def test_a_binary_network_starts_from_the_float_weights(tmp_path, place):
    start = start_of()
    trained = train_planned(plan(weights="binary", start=start, iterations=1, learning_rate=1e-9), tmp_path, ALONE)
    for name, value in start.state.items():
        torch.testing.assert_close(trained.module.state_dict()[name], value, rtol=0, atol=1e-6)
    for name, layer in trained.module.named_modules():
        if isinstance(layer, BinaryConv2d):
            scales = start.state[f"{name}.weight"].abs().mean(dim=(1, 2, 3))
            torch.testing.assert_close(layer.alpha.detach(), scales, rtol=0, atol=1e-6)
    assert trained.record.start == "a.safetensors"


def test_the_teacher_is_the_network_that_was_started_from(tmp_path, place):
    start = start_of()
    chosen = {"iterations": 1, "learning_rate": 1e-9}
    taught = train_planned(plan(start=start, distillation=1.0, **chosen), tmp_path / "a", ALONE)
    assert taught.history[0]["loss"] == 0  # the float network is its own teacher here
    binary = plan(weights="binary", start=start, distillation=1.0, **chosen)
    losses = [train_planned(replace(binary, distillation=share), tmp_path / f"{share}", ALONE) for share in (0, 0.5, 1)]
    none, half, all_ = (trained.history[0]["loss"] for trained in losses)
    assert all_ > 0 and half == pytest.approx((none + all_) / 2) and none != pytest.approx(all_)
    assert [trained.record.distillation for trained in losses] == [0, 0.5, 1]


@pytest.mark.parametrize("weights", ["float", "binary"])
@pytest.mark.parametrize(
    "start", [start_of(blocks=2), start_of(channels=9), start_of("srresnet"), Start("a.safetensors", "", {})]
)
def test_a_start_of_other_sizes_is_refused_in_one_line(tmp_path, place, weights, start):
    planned = replace(plan(weights=weights, start=start), overrides=plan(weights=weights).overrides)
    with pytest.raises(
        InputError, match=r"^a\.safetensors: is not a float edsr of the sizes in params\.yaml; "
    ) as error:
        train_planned(planned, tmp_path / "a", ALONE)
    assert "\n" not in str(error.value) and not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "changes", [{"patch": {"size": 26, "of": "hr"}}, {"patch": {"size": 6, "of": "lr"}}, {"batch": 4}]
)
def test_scales_that_cannot_share_a_batch_are_refused(tmp_path, place, changes):
    with pytest.raises(
        InputError, match=r"train\.vdsr: scales 2, 3, 4 share each batch; choose a batch that their number"
    ):
        train_planned(plan("vdsr", scales=(2, 3, 4), **changes), tmp_path / "a", ALONE)


def test_the_images_for_validation_are_of_every_scale(place):
    images = validation_images(plan("vdsr", scales=(2, 4)))
    assert [hr.shape[0] // lr.shape[0] for lr, hr in images] == [2, 2, 4, 4]


def test_the_record_says_how_it_was_made(tmp_path, place):
    trained = train_planned(plan("vdsr", scales=(2, 3, 4)), tmp_path, ALONE)
    record = asdict(trained.record)
    assert (record["iterations"], record["planned_iterations"], record["stopped"]) == (8, 8, "finished")
    assert record["scales"] == [2, 3, 4] and record["batch"] == 6 and record["seed"] == 3
    assert record["psnr_y"] == trained.history[-1]["psnr_y"] and record["start"] is None
    assert record["cpu_seconds"] > 0 and trained.finished and not trained.interrupted


def test_float32_is_float32_and_products_are_deterministic_on_a_gpu_too(tmp_path, place, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # PyTorch's default
    train_planned(plan(iterations=1), tmp_path, ALONE)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8" and not torch.backends.cudnn.allow_tf32


def test_a_checkpoint_of_another_plan_is_not_gone_on_from(tmp_path, place, capsys):
    train_planned(plan(), tmp_path, ALONE)
    for other in (
        plan(seed=4),
        plan(weights="binary"),
        plan(learning_rate=0.002),
        plan(scales=(3,)),
        plan(start=start_of()),
        plan(start=start_of(), distillation=0.5),
    ):
        capsys.readouterr()
        train_planned(other, tmp_path, ALONE)
        assert "other params or data; starting over" in capsys.readouterr().err
    train_planned(other, tmp_path, ALONE)
    assert "starting over" not in capsys.readouterr().err


def test_a_training_of_another_profile_has_its_own_checkpoint():
    run = Run("edsr", 2, "binary")
    assert run.checkpoint("paper").parts == ("checkpoints", "paper", "edsr-x2-binary")
    assert run.checkpoint("quick") != run.checkpoint("paper")


def test_an_interrupted_training_gives_no_record_and_goes_on_to_the_same_weights(tmp_path, place, capsys):
    lasting = {"iterations": 25, "validate_every": 25, "checkpoint_every": 25}
    chosen = plan("vdsr", "binary", (2, 3, 4), 32, optimizer="muon", ema=0.9, **lasting)
    whole = train_planned(chosen, tmp_path / "whole", ALONE)
    asked = Interruption()
    asked.asked = True
    stopped = train_planned(chosen, tmp_path / "a", ALONE, asked)
    assert stopped.interrupted and not stopped.finished and stopped.record is None
    capsys.readouterr()
    resumed = train_planned(chosen, tmp_path / "a", ALONE, Interruption())
    assert "at iteration 1\n" in capsys.readouterr().err
    assert resumed.finished and not resumed.interrupted and resumed.history == whole.history
    for name, value in whole.module.state_dict().items():
        assert torch.equal(resumed.module.state_dict()[name], value), name


@pytest.mark.parametrize("weights", ["float", "binary"])
@pytest.mark.parametrize("model", NETWORKS)
def test_the_least_that_the_params_accept_is_trained_exported_and_run(tmp_path, model, weights, place):
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    least = dict.fromkeys(("iterations", "batch", "validate_every", "checkpoint_every"), 1)
    rates = {"learning_rate": 1000.0, "latent_rate": 1000.0, "weight_decay": 1.0}
    for each in NETWORKS:
        params["train"][each] |= least | rates | {"patch": {"size": 2, "of": "lr"}, "max_minutes": 1e-9}
        params["network"][each] = {name: least or 1e-30 for name, least in NETWORKS[each].sizes.items()}
    params["export"] |= {"calibration_images": 1, "calibration_crop": 1}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    accepted = load_params(tmp_path / "params.yaml")
    sizes, sets = accepted.overrides(model, weights), ("embedded-train", "embedded-valid", 1)
    made = Plan(model, (2,), weights, sizes, accepted.training(model), accepted.seed, *sets)
    trained = train_planned(made, tmp_path / "checkpoint", ALONE)
    assert trained.finished
    packed = tmp_path / "network.safetensors"
    calibrated = PreparedSet.open(prepared_folder("embedded-train"))
    pairs = validation_images(made)
    export(trained.module, packed, {}, accepted.export, "float32", calibrated, pairs, accepted.seed)
    image = np.full((1, 1, 3), 200, np.uint8)
    assert Engine.load(packed).upscale(image).shape == (2, 2, 3)
