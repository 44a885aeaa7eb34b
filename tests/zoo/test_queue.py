"""Entries of the queue: how each is trained, and importing one of them."""

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pipeline.data.prepared import PreparedSet
from pipeline.errors import InputError
from pipeline.importing import import_network
from pipeline.packed import read
from pipeline.packing import load
from pipeline.params import load_params
from pipeline.profiles import compose
from pipeline.runs import Run
from pipeline.training.checkpoints import PROGRESS
from pipeline.training.loop import validate
from pipeline.zoo import train
from pipeline.zoo.catalogue import pairs, read_index, write_index
from pipeline.zoo.locks import claimed
from pipeline.zoo.queue import Entry, Queue, load_queue
from pipeline.zoo.status import describe
from tests.conftest import ROOT, SHARED
from tests.engine.random_networks import save_random
from tests.small import write_sets
from tests.small_zoo import Place

VDSR = SHARED / "mirror" / "VDSR" / "VDSR_Adam.mat"
STATUS = ("--params", "params.yaml", "--queue", "queue.yaml")


@pytest.fixture(scope="module")
def params():
    return load_params(ROOT / "zoo/cpu.yaml")


def entry(**fields):
    return Entry.model_validate({"model": "edsr", "scales": [4], "weights": "binary"} | fields)


def test_an_entry_names_its_networks():
    assert entry(variant="seed1").name == "edsr-x4-binary-seed1"
    several = entry(model="vdsr", scales=[2, 3], weights="float", variant="imported")
    assert several.name == "vdsr-x23-float-imported"
    assert [run.name for run in several.runs] == ["vdsr-x2-float-imported", "vdsr-x3-float-imported"]
    assert several.starts_from is None
    assert entry(start="seed0").starts_from == Run("edsr", 4, "float", "seed0")
    assert entry(start="").starts_from == Run("edsr", 4, "float")


def test_a_plan_is_the_profiles_but_for_what_the_entry_says(params):
    plan = entry().plan(params, None)
    assert plan.settings == params.training("edsr") and plan.seed == params.seed
    assert plan.overrides == params.overrides("edsr", "binary") and plan.distillation == 0
    short = entry(length=0.25, seed=7, scale_rule="analytic", scope="all", start="", distillation=0.5)
    changed = short.plan(params, None)
    assert changed.settings == plan.settings.model_copy(update={"iterations": plan.settings.iterations // 4})
    assert changed.seed == 7 and changed.distillation == 0.5
    assert changed.overrides == plan.overrides | {"scale_rule": "analytic", "scope": "all"}
    longer = entry(train={"batch": 16, "schedule": {"kind": "linear", "flat": 0.5}}).plan(params, None).settings
    schedule = plan.settings.schedule.model_copy(update={"kind": "linear", "flat": 0.5})
    assert longer == plan.settings.model_copy(update={"batch": 16, "schedule": schedule})
    real = entry(weights="float", scale_rule="analytic").plan(params, None)  # a float network has no such rule
    assert real.overrides == params.overrides("edsr", "float")


def test_the_two_networks_of_a_pair_are_planned_alike(params):
    entries = {each.name: each for each in load_queue(ROOT / "conf/queue.yaml")}
    found = 0
    for name, binary in entries.items():
        real = entries.get(name.replace("binary", "float"))
        if binary.weights == "binary" and real is not None and real.source is None:
            one, other = real.plan(params, None), binary.plan(params, None)
            rules = {"scale_rule": "learnable", "scope": "blocks"}
            assert other.overrides == one.overrides | rules
            for field in ("scales", "settings", "seed", "training_set", "start", "distillation"):
                assert getattr(one, field) == getattr(other, field), (name, field)
            found += 1
    assert found >= 8


def test_every_start_of_the_committed_queue_comes_before_what_starts_from_it():
    done = set()
    for each in load_queue(ROOT / "conf/queue.yaml"):
        assert each.starts_from is None or each.starts_from in done, each.name
        done |= set(each.runs)


@pytest.mark.parametrize("unbuffered", ["", "1"])  # without buffers, each line meets the reader
def test_status_ends_quietly_where_its_reader_is_gone(tmp_path, unbuffered):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "pipeline.zoo.status", "--zoo", str(tmp_path)]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=closed, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1 and done.stderr == ""


@pytest.mark.skipif(not VDSR.is_file(), reason="needs ../shared/mirror with VDSR")
def test_an_imported_network_is_published_as_it_is_and_trained_from(tmp_path, monkeypatch):
    compose("quick", tmp_path / "params.yaml", ROOT / "conf")
    place = Place(tmp_path)
    place.change(lambda params: params["network"]["vdsr"].update(layers=20, channels=64))
    short = {"iterations": 2, "batch": 6, "patch": {"size": 24, "of": "hr"}, "validate_every": 2}
    place.change(lambda params: params["train"]["vdsr"].update(short))
    place.change(lambda params: params["export"].update(calibration_images=2, calibration_crop=8))
    place.change(lambda params: params["data"].update(mirror=str(SHARED / "mirror")))
    write_sets(tmp_path, "embedded-train", "embedded-valid", height=48, width=40)
    (tmp_path / "queue.yaml").write_text(
        "- {model: vdsr, scales: [2, 3, 4], weights: binary, variant: imported, start: imported}\n"
        "- {model: vdsr, scales: [2, 3, 4], weights: float, variant: imported, source: VDSR}\n"
    )
    waits = "vdsr-x234-binary-imported  waiting for vdsr-x2-float-imported\n"
    assert place.run("status", *STATUS) == waits + "vdsr-x234-float-imported   waiting\n"
    output = place.run("train", "--params", "params.yaml", "--queue", "queue.yaml", "--threads", "1")
    assert "vdsr-x234-binary-imported: 2 iterations" in output and output.endswith("all trained\n")
    assert place.run("status", *STATUS).count("trained\n") == 2

    zoo = tmp_path / "zoo"
    theirs = import_network(VDSR, "vdsr").state_dict()
    images = PreparedSet.open(tmp_path / "data/prepared/embedded-valid")
    for scale in (2, 3, 4):
        path = zoo / f"vdsr-x{scale}-float-imported.safetensors"
        training = read(path).metadata["training"]
        ours = load(path)
        assert ours.config["scale"] == scale
        for name, value in ours.state_dict().items():
            torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=1e-6)  # in half precision at most
        assert training["imported"]["address"].startswith("https://") and "MIT" in training["imported"]["licence"]
        assert training["plan"]["profile"] == "imported" and "iterations" not in training
        level = validate(import_network(VDSR, "vdsr", scale), [(images.lr(0, scale), images.hr(0, scale))])
        assert training["psnr_y"] == pytest.approx(level, abs=1e-3)
        binary = read(zoo / f"vdsr-x{scale}-binary-imported.safetensors").metadata["training"]
        assert binary["plan"]["start"]["name"] == path.stem and binary["scales"] == [2, 3, 4]
        assert not (zoo / "history" / f"{path.stem}.csv").exists()
    several = [load(zoo / f"vdsr-x{scale}-binary-imported.safetensors").state_dict() for scale in (2, 3, 4)]
    assert all(torch.equal(several[0][name], other[name]) for other in several[1:] for name in other)
    found = pairs(write_index(zoo))
    assert [(real.scale, real.variant, binary.variant) for real, binary in found] == [
        (scale, "imported", "imported") for scale in (2, 3, 4)
    ]
    assert json.loads((zoo / "index.json").read_text()) and all(real.imported for real, _ in pairs(read_index(zoo)))

    assert place.run("train", "--params", "params.yaml", "--queue", "queue.yaml") == "all trained\n"
    (zoo / "vdsr-x3-float-imported.safetensors").unlink()  # one of three: it is imported anew, and serves as before
    assert "waiting for" in place.run("status", *STATUS)
    assert place.run("train", "--params", "params.yaml", "--queue", "queue.yaml") == "all trained\n"


def test_the_end_is_told_by_the_clock_also_when_that_changes(params, tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    queue, trained = Queue([entry()], params, tmp_path), entry()
    queue.state_folder(trained).mkdir(parents=True)
    progress = {"iteration": 10, "iterations": 20, "seconds": 36_000, "psnr_y": None}
    (queue.state_folder(trained) / PROGRESS).write_text(json.dumps(progress))
    with claimed(queue.lock_file(trained)):
        said = describe(trained, queue, datetime(2026, 10, 24, 20))  # ten hours before 5 in winter
    monkeypatch.undo()
    time.tzset()
    assert said.endswith("ends in 10 h 00 min, at 2026-10-25 05:00")


def test_a_network_names_the_file_that_it_started_from_though_another_took_its_place(params, tmp_path, monkeypatch):
    queue, started = Queue([entry(start="seed0")], params, tmp_path), entry(start="seed0")
    first = queue.file(started.starts_from)
    save_random(first, "edsr", 4, "float", {"training": {"variant": "seed0", "plan": {}}}, blocks=1, channels=4)
    sha256 = hashlib.sha256(first.read_bytes()).hexdigest()
    packed = []

    def replace_the_start(*_):
        first.write_bytes(b"another")
        return SimpleNamespace(finished=True, record=Record(1), module=nn.Conv2d(1, 1, 1), history=[], environment={})

    @dataclass
    class Record:
        iterations: int

    nn.Conv2d.config = {}
    monkeypatch.setattr(train, "train_planned", replace_the_start)
    monkeypatch.setattr(train, "validation_images", lambda plan: [])
    monkeypatch.setattr(train, "write_csv", lambda path, rows: None)
    monkeypatch.setattr(train, "_pack", lambda module, run, training, *_: packed.append(training))
    assert train._make(started, queue, None, None, None, {})
    del nn.Conv2d.config
    assert packed[0]["plan"]["start"] == {"name": "edsr-x4-float-seed0", "sha256": sha256}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 0}, "queue entry edsr-x4-binary: train: batch: "),
        ({"iteration": 5}, "queue entry edsr-x4-binary: train: iteration: "),
        ({"schedule": {"kind": "square"}}, "queue entry edsr-x4-binary: train: schedule.kind: "),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_trained(params, changes, message):
    with pytest.raises(InputError, match=message):
        Queue([entry(train=changes)], params, ROOT / "zoo").check()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "whole file: List should have at least 1 item"),
        ("- {model: edsr, scales: [4], weights: float, seed: 99999999999999}", "0.seed"),
        ("- {model: edsr, scales: [4], weights: binary, start: seedO}", "start: no entry trains edsr-x4-float-seedO"),
    ],
)
def test_what_could_never_be_trained_is_refused(tmp_path, text, message):
    (tmp_path / "queue.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        load_queue(tmp_path / "queue.yaml")
