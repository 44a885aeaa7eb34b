"""The training loop: resuming bit by bit, stopping, schedules, clipping, several scales, and several processes."""

import copy
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

from pipeline.data.crops import Crops
from pipeline.data.resize import imresize
from pipeline.errors import InputError
from pipeline.metrics import luma
from pipeline.models import build
from pipeline.models.binarize import BinaryConv2d
from pipeline.provenance import cpu_model
from pipeline.training import loop as training
from pipeline.training.distributed import Process, this_process
from pipeline.training.interruption import Interruption
from pipeline.training.loop import learning_rate, make_optimizers, train
from pipeline.training.muon import Muon, suits_muon
from tests.small import prepared_pictures, settings

ALONE = Process(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return prepared_pictures(tmp_path_factory.mktemp("set"))


def network(model="edsr", weights="binary", channels=8):
    torch.manual_seed(0)
    return build(model, 2, weights, **({"layers": 4} if model == "vdsr" else {"blocks": 1}), channels=channels)


def run(pictures, checkpoint, chosen, module=None, process=ALONE, scales=(2,), **options):
    module = module or network()
    crops = [Crops(pictures, s, chosen.patch.lr_size(s), module.config["model"] == "vdsr") for s in scales]
    validation = [(pictures.lr(0, scale), pictures.hr(0, scale)) for scale in scales]
    identity = {"settings": chosen.model_dump(exclude={"max_minutes"})}
    return module, train(module, crops, validation, chosen, 3, checkpoint, identity, process, **options)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("model", ["srresnet", "edsr", "vdsr"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "muon"])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_killed_run_ends_bit_equal_to_an_uninterrupted_one(pictures, tmp_path, monkeypatch, model, optimizer, ema):
    chosen = settings(optimizer=optimizer, ema=ema)
    channels = 32 if optimizer == "muon" else 8  # Muon is for wide filter banks; with few channels it has none
    whole, whole_record = run(pictures, tmp_path / "whole", chosen, network(model, channels=channels))

    killed_at = 5  # the last checkpoint is of iteration 3, so iterations 4 and 5 are done twice
    steps = 0

    def clip_then_die(*arguments):
        nonlocal steps
        steps += 1
        if steps > killed_at:
            raise KilledError
        original(*arguments)

    original = training.clip_gradients
    with monkeypatch.context() as patch:
        patch.setattr(training, "clip_gradients", clip_then_die)
        with pytest.raises(KilledError):
            run(pictures, tmp_path / "killed", chosen, network(model, channels=channels))
    resumed, record = run(pictures, tmp_path / "killed", chosen, network(model, channels=channels))

    for (name, expected), actual in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(expected, actual), name
    assert record.history == whole_record.history
    assert record.images == whole_record.images == 8 * 4


def test_training_lowers_the_loss_and_moves_latents_and_scales(pictures, tmp_path):
    module = network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    _, record = run(pictures, tmp_path / "a", settings(iterations=60, learning_rate=0.005), module)
    assert record.history[-1]["loss"] < record.history[0]["loss"] / 2
    assert record.history[-1]["psnr_y"] > record.history[0]["psnr_y"]
    moved = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert {"blocks.0.conv1.weight", "blocks.0.conv1.alpha", "blocks.0.conv1.bias", "head.weight"} <= moved


def test_distillation_shares_the_loss_between_hr_and_the_teacher(pictures, tmp_path):
    def trained(weight):
        options = {"teacher": teacher, "distillation": weight}
        chosen = settings(iterations=4)
        module, record = run(pictures, tmp_path / f"{weight}", chosen, network(weights="float"), **options)
        return module.state_dict(), record.history[-1]["loss"]

    teacher = network(weights="float")
    before = copy.deepcopy(teacher.state_dict())
    (only_hr, all_loss), (half, half_loss), (only_teacher, no_loss) = map(trained, (0.0, 0.5, 1.0))
    assert no_loss == 0  # its own weights teach it nothing
    assert all(torch.equal(only_teacher[name], value) for name, value in before.items())
    assert 0.4 * all_loss < half_loss < all_loss
    assert any(not torch.equal(half[name], value) for name, value in only_hr.items())
    assert all(torch.equal(teacher.state_dict()[name], value) for name, value in before.items())


def test_a_run_out_of_time_stops_cleanly_and_goes_on_later(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECK_EVERY", 1)
    chosen = settings(max_minutes=1e-9)
    _, record = run(pictures, tmp_path / "a", chosen)
    assert record.iteration == 1 and record.history[-1]["iteration"] == 1
    assert (tmp_path / "a" / "state.json").exists()
    held = json.loads((tmp_path / "a" / "progress.json").read_text())
    assert held["iteration"] == 1 and held["iterations"] == 8 and held["seconds"] >= 0
    assert held["psnr_y"] == record.history[-1]["psnr_y"]
    monkeypatch.setattr(Process, "device_name", "another machine")
    resumed, record = run(pictures, tmp_path / "a", settings())
    assert record.devices == [cpu_model(), "another machine"]
    assert record.iteration == 8
    whole, _ = run(pictures, tmp_path / "b", settings())
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_an_interrupted_run_saves_soon_and_goes_on_as_if_nothing_had_happened(pictures, tmp_path, capsys):
    chosen = settings(iterations=50, validate_every=30, checkpoint_every=50, optimizer="muon", ema=0.9)
    expected, whole = run(pictures, tmp_path / "whole", chosen, network(channels=32))
    asked = Interruption()
    asked.asked = True
    _, record = run(pictures, tmp_path / "a", chosen, network(channels=32), interruption=asked)
    assert record.iteration == 1 and record.history == []
    progress = json.loads((tmp_path / "a" / "progress.json").read_text())
    assert (progress["iteration"], progress["iterations"], progress["psnr_y"]) == (1, 50, None)
    capsys.readouterr()
    resumed, record = run(pictures, tmp_path / "a", chosen, network(channels=32), interruption=Interruption())
    assert "at iteration 1" in capsys.readouterr().err
    assert record.history == whole.history and record.images == whole.images
    assert all(torch.equal(a, b) for a, b in zip(expected.parameters(), resumed.parameters(), strict=True))


def test_an_interruption_after_the_last_iteration_is_none(pictures, tmp_path):
    asked = Interruption()
    asked.asked = True
    _, record = run(pictures, tmp_path / "a", settings(iterations=1), interruption=asked)
    assert record.iteration == 1 and record.history[-1]["iteration"] == 1


def test_a_loss_that_is_not_finite_names_the_iteration_and_the_checkpoint(pictures, tmp_path):
    module = network()
    chosen = settings(learning_rate=1e3, optimizer="sgd", loss="mse", clip={"kind": "none", "limit": 1.0})
    with pytest.raises(InputError, match="there is no checkpoint yet"):
        run(pictures, tmp_path / "a", chosen, module)
    run(pictures, tmp_path / "a", settings(iterations=6))
    kept = (tmp_path / "a" / "state.json").read_bytes()

    class PoisonedCrops(Crops):
        def batch(self, *arguments):
            inputs, targets = super().batch(*arguments)
            return inputs * math.nan, targets

    crops = PoisonedCrops(pictures, 2, 8, False)
    identity = {"settings": settings(iterations=6).model_dump(exclude={"max_minutes"})}
    with pytest.raises(InputError, match=r"the loss is not finite at iteration 7; .*a"):
        train(
            network(),
            [crops],
            [(pictures.lr(0, 2), pictures.hr(0, 2))],
            settings(),
            3,
            tmp_path / "a",
            identity,
            ALONE,
        )
    assert (tmp_path / "a" / "state.json").read_bytes() == kept


def test_a_checkpoint_of_other_params_is_not_used_and_a_broken_one_is_named(pictures, tmp_path, capsys):
    run(pictures, tmp_path / "a", settings(iterations=3))
    expected, _ = run(pictures, tmp_path / "b", settings())
    actual, _ = run(pictures, tmp_path / "a", settings())
    assert "starting over" in capsys.readouterr().err
    assert all(torch.equal(a, b) for a, b in zip(expected.parameters(), actual.parameters(), strict=True))
    (tmp_path / "a" / "state.json").write_text("half a file")
    with pytest.raises(InputError, match=r"a: not a readable checkpoint"):
        run(pictures, tmp_path / "a", settings())


def test_schedules():
    def chosen(kind, every=1, factor=1.0, flat=0.0):
        return settings(schedule={"kind": kind, "every": every, "factor": factor, "flat": flat})

    step = chosen("step", every=3, factor=0.5)
    assert [learning_rate(step, i) for i in (0, 2, 3, 6)] == [0.001, 0.001, 0.0005, 0.00025]
    cosine = settings(iterations=8)
    assert [learning_rate(cosine, i) for i in (0, 4)] == pytest.approx([0.001, 0.0005])
    assert learning_rate(cosine, 8) == pytest.approx(0, abs=1e-12)
    assert learning_rate(chosen("constant"), 7) == 0.001
    linear = [learning_rate(chosen("linear"), i) for i in (0, 2, 4, 8)]
    assert linear == pytest.approx([0.001, 0.00075, 0.0005, 0])
    flat = [learning_rate(chosen("linear", flat=0.5), i) for i in (0, 3, 4, 6, 8)]
    assert flat == pytest.approx([0.001, 0.001, 0.001, 0.0005, 0])
    assert learning_rate(chosen("cosine", flat=0.5), 4) == 0.001
    assert learning_rate(chosen("cosine", flat=0.5), 6) == pytest.approx(0.0005)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "muon"])
def test_latent_filters_are_not_decayed_and_have_their_own_rate(optimizer):
    module = network(channels=32)
    made = make_optimizers(module, settings(optimizer=optimizer, weight_decay=0.1, latent_rate=3.0))
    groups = [group for each in made for group in each.param_groups]
    members = [id(p) for group in groups for p in group["params"]]
    assert sorted(members) == sorted(id(p) for p in module.parameters())  # each once
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    faster = {id(p) for group in groups if group["factor"] == 3 for p in group["params"]}
    latent = {id(layer.weight) for layer in module.modules() if isinstance(layer, BinaryConv2d)}
    assert len(latent) == 2 and faster == latent
    assert decayed == {id(p) for p in module.parameters()} - latent
    assert all(group["factor"] == 1 for group in groups if group["weight_decay"])


def test_muon_has_the_wide_filter_banks_and_adam_the_rest():
    module = network(channels=32)
    muon, adam = make_optimizers(module, settings(optimizer="muon", momentum=0.8))
    assert isinstance(muon, Muon) and isinstance(adam, torch.optim.Adam)
    named = {id(value): name for name, value in module.named_parameters()}
    banks = {named[id(p)] for group in muon.param_groups for p in group["params"]}
    assert banks == {"blocks.0.conv1.weight", "blocks.0.conv2.weight", "conv.weight", "upsample.0.conv.weight"}
    assert banks == {name for name, value in module.named_parameters() if suits_muon(value)}
    assert all(group["momentum"] == 0.8 for group in muon.param_groups)
    (alone,) = make_optimizers(network(channels=8), settings(optimizer="muon"))  # no bank suits
    assert isinstance(alone, torch.optim.Adam)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "muon"])
def test_weights_are_decayed_whatever_the_optimizer(optimizer):
    module = network(weights="float", channels=32)
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    for value in module.parameters():
        value.grad = torch.zeros_like(value)
    for made in make_optimizers(module, settings(optimizer=optimizer, weight_decay=0.1)):
        made.step()
    for name, value in module.named_parameters():
        assert value.detach().norm() < before[name].norm(), name


def test_the_latent_rate_reaches_the_steps(pictures, tmp_path):
    def moved(rate):
        module = network(channels=32)
        before = copy.deepcopy(module.state_dict())
        run(pictures, tmp_path / f"{rate}", settings(iterations=1, optimizer="muon", latent_rate=rate), module)
        return {name: (value - before[name]).norm().item() for name, value in module.state_dict().items()}

    one, four = moved(1.0), moved(4.0)
    assert four["blocks.0.conv1.weight"] == pytest.approx(4 * one["blocks.0.conv1.weight"], rel=1e-3)
    assert four["conv.weight"] == one["conv.weight"] and four["head.weight"] == one["head.weight"] > 0


def of_scale(crop, pictures, scale):
    """Whether a luma crop is cut from a bicubic image of the scale, however it is turned."""
    side = len(crop)
    for i in range(len(pictures)):
        lr = np.atleast_3d(pictures.lr(i, scale)).astype(np.float64) * np.ones(3)  # grey is RGB of equal channels
        image = luma(imresize(lr, scale)) / 255
        for top in range(0, image.shape[0] - side + 1, scale):
            for left in range(0, image.shape[1] - side + 1, scale):
                piece = image[top : top + side, left : left + side]
                turns = (np.rot90(flipped, k) for flipped in (piece, piece[::-1]) for k in range(4))
                if any(np.abs(turn - crop).max() < 1e-5 for turn in turns):
                    return True
    return False


def test_scales_share_each_batch_in_equal_parts(pictures, tmp_path):
    module, seen = network("vdsr", "float"), []
    module.register_forward_pre_hook(lambda network, inputs: seen.append(inputs[0]) if network.training else None)
    chosen = settings(iterations=2, batch=6, patch={"size": 24, "of": "hr"})
    _, record = run(pictures, tmp_path / "a", chosen, module, scales=(2, 3, 4))
    assert len(seen) == 2 and all(batch.shape == (6, 1, 24, 24) for batch in seen) and record.images == 12
    for batch in seen:
        found = [[scale for scale in (2, 3, 4) if of_scale(crop, pictures, scale)] for crop in batch[:, 0].numpy()]
        assert found == [[2], [2], [3], [3], [4], [4]]
    levels = [training.validate(module, [(pictures.lr(0, s), pictures.hr(0, s))]) for s in (2, 3, 4)]
    assert record.history[-1]["psnr_y"] == pytest.approx(np.mean(levels))
    assert len(set(levels)) == 3  # each image at its own scale


def test_gradients_are_clipped_by_norm_or_by_value_over_the_rate():
    module = torch.nn.Linear(2, 1, bias=False)

    def clipped(clip, rate):
        module.weight.grad = torch.tensor([[3.0, -4.0]])
        training.clip_gradients(module, settings(clip=clip), rate)
        return module.weight.grad.flatten().tolist()

    assert clipped({"kind": "none", "limit": 1.0}, 0.1) == [3, -4]
    assert clipped({"kind": "norm", "limit": 1.0}, 0.1) == pytest.approx([0.6, -0.8], rel=1e-5)
    assert clipped({"kind": "value_over_rate", "limit": 0.35}, 0.1) == pytest.approx([3, -3.5])


def test_the_average_begins_with_the_starting_weights_and_follows_by_its_decay(pictures, tmp_path, monkeypatch):
    module, decay = network("srresnet"), 0.75
    expected = {name: value.clone() for name, value in module.state_dict().items()}
    current = {}

    def step_then_average(optimizer, *arguments):
        stepped(optimizer, *arguments)
        current.update((name, value.clone()) for name, value in module.state_dict().items())
        for name, value in module.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * value.detach()

    stepped = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", step_then_average)
    run(pictures, tmp_path / "a", settings(iterations=4, ema=decay), module)
    parameters = {name for name, _ in module.named_parameters()}
    assert parameters < set(expected)  # the rest are the statistics of batch normalization, which are not averaged
    for name, value in module.state_dict().items():
        if name in parameters:
            torch.testing.assert_close(value, expected[name])
            assert not torch.equal(value, current[name]), name
        else:
            assert torch.equal(value, current[name]), name


def test_half_the_squared_error_is_summed_over_a_crop_and_averaged_over_the_batch():
    outputs, targets = torch.zeros(2, 1, 2, 2), torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1).expand(2, 1, 2, 2)
    assert training.LOSSES["half_sse"](outputs, targets).item() == (4 * 1 + 4 * 9) / 2 / 2


def test_bfloat16_trains(pictures, tmp_path):
    precisions = set()

    def note(module, _, output):
        if isinstance(module, torch.nn.Conv2d) and module.training:
            precisions.add(output.dtype)

    with register_module_forward_hook(note):
        _, record = run(pictures, tmp_path / "a", settings(precision="bfloat16"))
    assert precisions == {torch.bfloat16}
    assert math.isfinite(record.history[-1]["loss"])


def test_the_environment_is_that_of_the_training(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "environment", lambda: {"cpu": "the first"})
    run(pictures, tmp_path / "a", settings())
    monkeypatch.setattr(training, "environment", lambda: {"cpu": "another"})
    assert run(pictures, tmp_path / "a", settings())[1].environment == {"cpu": "the first"}


def distributed_main(folder):
    """What each process of the test below runs."""
    from pathlib import Path

    from pipeline.data.prepared import PreparedSet

    torch.set_num_threads(1)
    with this_process() as process:
        module, record = run(
            PreparedSet.open(Path(folder, "prepared")), Path(folder, "two"), settings(), process=process
        )
    weights = {name: value.tolist() for name, value in module.state_dict().items()}
    Path(folder, f"rank{process.rank}.json").write_text(json.dumps({"history": record.history, "weights": weights}))


def test_two_processes_train_as_one_with_the_same_global_batch(pictures, tmp_path):
    folder = pictures.folder.parent
    command = [
        sys.executable,
        "-c",
        f"from tests.training.test_loop import distributed_main; distributed_main({str(folder)!r})",
    ]
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--standalone",
        "--no-python",
    ]
    done = subprocess.run(
        [*launch, *command], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    alone, record = run(pictures, tmp_path / "one", settings())
    results = [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert results[0]["weights"] == results[1]["weights"]
    for row, expected in zip(results[0]["history"], record.history, strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        assert row["psnr_y"] == pytest.approx(expected["psnr_y"], abs=0.01)
    for name, value in alone.state_dict().items():
        np.testing.assert_allclose(np.array(results[0]["weights"][name]), value.numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("gpus", "processes", "kind"), [(1, 1, "cuda"), (1, 2, "cpu"), (2, 2, "cuda"), (0, 1, "cpu")])
def test_processes_train_on_gpus_where_each_has_one(monkeypatch, gpus, processes, kind):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    for rank in range(processes):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        with this_process() as process:  # of one process, so that none waits for the other
            assert process.device.type == kind
            assert process.device.index == (rank if kind == "cuda" else None)


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(InputError, match="5 does not divide among 2"):
        Process(0, 2, torch.device("cpu")).part(5)
