"""Training, publishing and verifying a zoo, by its commands."""

import csv
import fcntl
import json
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from pipeline import labels
from pipeline.data.prepared import PreparedSet
from pipeline.engine import Engine
from pipeline.engine.modes import modes_here
from pipeline.errors import InputError
from pipeline.metrics import psnr
from pipeline.packed import read
from pipeline.packing import load
from pipeline.params import load_params
from pipeline.profiles import compose
from pipeline.records import EXACT_MODES
from pipeline.zoo.catalogue import pairs, read_index, seed_pairs, twin_of
from pipeline.zoo.queue import Queue, load_queue
from tests.conftest import ROOT
from tests.small_zoo import NAMES, TRAININGS, Place

BFLOAT16 = int("engine_bfloat16" in modes_here())  # one mode more on processors with AVX-512 BF16

STATUS = ("--params", "params.yaml", "--queue", "queue.yaml")


def results(place):
    return json.loads((place.folder / "zoo/results.json").read_text())["methods"]


def digest(zoo, name):
    return sha256((zoo / f"{name}.safetensors").read_bytes()).hexdigest()


def test_the_queue_is_trained_whole(published):
    zoo = published.folder / "zoo"
    assert sorted(path.stem for path in zoo.glob("*.safetensors")) == sorted(NAMES)
    training = {name: read(zoo / f"{name}.safetensors").metadata["training"] for name in NAMES}
    warm = training["edsr-x2-binary-warm"]
    twin = zoo / "edsr-x2-float-seed5.safetensors"
    start = {"name": "edsr-x2-float-seed5", "sha256": sha256(twin.read_bytes()).hexdigest()}
    assert warm["plan"]["start"] == start and warm["distillation"] == warm["plan"]["distillation"] == 0.5
    assert training["edsr-x2-float-seed5"]["seed"] == 5 and training["edsr-x2-float"]["seed"] == 0
    quarter = {"edsr-x2-float-seed5": 6, "edsr-x2-binary-warm": 6}
    assert {name: record["iterations"] for name, record in training.items()} == dict.fromkeys(NAMES, 12) | quarter
    assert all(record["cpu_seconds"] > 0 for record in training.values())
    assert all(record["float16_loss_db"] < 0.005 for record in training.values())
    assert {read(zoo / f"{name}.safetensors").float_type for name in NAMES} == {"float16"}
    assert not [path for path in (zoo / "unfinished").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert len(list((zoo / "history").glob("*.csv"))) == len(NAMES)


def test_a_float_and_a_binary_network_are_trained_alike(published):
    models = read_index(published.folder / "zoo")
    found = [(real.name, binary.name) for real, binary in pairs(models)]
    assert found == [(f"{name}-float", f"{name}-binary") for name in ("edsr-x2", "vdsr-x2", "vdsr-x4")]
    for real, binary in pairs(models):
        assert real.training["plan"]["settings"] == binary.training["plan"]["settings"]
    histories = [
        (published.folder / f"zoo/history/edsr-x2-{weights}.csv").read_text() for weights in ("float", "binary")
    ]
    rows = [[line.split(",")[0] for line in text.splitlines()] for text in histories]
    assert rows[0] == rows[1] == ["iteration", "6", "12"]


def test_one_network_for_several_scales_is_published_once_for_each(published):
    zoo = published.folder / "zoo"
    two, four = (load(zoo / f"vdsr-x{scale}-float.safetensors") for scale in (2, 4))
    assert (two.config["scale"], four.config["scale"]) == (2, 4)
    assert all((two.state_dict()[name] == value).all() for name, value in four.state_dict().items())
    assert read(zoo / "vdsr-x4-float.safetensors").metadata["training"]["scales"] == [2, 4]


def test_what_is_finished_is_not_trained_again_but_under_other_settings(published, tmp_path):
    place = published.copy(tmp_path / "place")
    assert place.run("train", "--params", "params.yaml", "--queue", "queue.yaml") == "all trained\n"
    place.change(lambda params: params["train"]["edsr"].update(learning_rate=0.0005))
    output = place.run("train", "--params", "params.yaml", "--queue", "queue.yaml")
    for name, iterations in zip(NAMES[:4], (12, 12, 6, 6), strict=True):
        assert f"{name}: {iterations} iterations" in output
    assert "vdsr" not in output


def test_a_time_limit_stops_cleanly_and_the_next_call_goes_on_to_the_same_network(published, untrained, tmp_path):
    place = untrained.copy(tmp_path / "place")
    output = place.run("train", "--params", "params.yaml", "--queue", "queue.yaml", "--minutes", "0.0001")
    assert f"still to be trained: {', '.join(TRAININGS)}" in output
    state = place.folder / "zoo/unfinished/quick/edsr-x2-float"
    assert all(path.stat().st_size <= 16 * 2**20 for path in state.iterdir()) and (state / "state.json").exists()
    output = place.run("train", "--params", "params.yaml", "--queue", "queue.yaml")
    assert "going on from zoo/unfinished/quick/edsr-x2-float at iteration" in output and "all trained" in output
    again, once = (load(which.folder / "zoo/edsr-x2-float.safetensors").state_dict() for which in (place, published))
    assert all((again[name] == once[name]).all() for name in once)


def test_a_signal_saves_and_the_next_call_ends_as_if_there_had_been_none(untrained, tmp_path):
    stopped, whole = (untrained.copy(tmp_path / name) for name in ("stopped", "whole"))
    for place in (stopped, whole):
        place.change(lambda params: params["train"]["edsr"].update(iterations=400, checkpoint_every=400))
        (place.folder / "queue.yaml").write_text("- {model: edsr, scales: [2], weights: binary}\n")
    assert stopped.run("status", *STATUS) == "edsr-x2-binary  waiting\n"
    process = stopped.start("train", "--params", "params.yaml", "--queue", "queue.yaml")
    state = stopped.folder / "zoo/unfinished/quick/edsr-x2-binary"
    while not (state / "progress.json").exists() and process.poll() is None:
        time.sleep(0.01)
    assert "running: " in (said := stopped.run("status", *STATUS)) and " of 400 iterations" in said
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode == 0 and "still to be trained: edsr-x2-binary" in output and "Traceback" not in output
    held = json.loads((state / "state.json").read_text())["state"]["record"]
    assert 0 < held["iteration"] < 400
    assert f"stopped at {held['iteration']} of 400 iterations" in stopped.run("status", *STATUS)
    assert f"at iteration {held['iteration']}" in stopped.run(
        "train", "--params", "params.yaml", "--queue", "queue.yaml"
    )
    whole.run("train", "--params", "params.yaml", "--queue", "queue.yaml")
    assert stopped.run("status", *STATUS) == "edsr-x2-binary  trained\n"
    again, once = (load(place.folder / "zoo/edsr-x2-binary.safetensors").state_dict() for place in (stopped, whole))
    assert all((again[name] == once[name]).all() for name in once)
    curves = [(place.folder / "zoo/history/edsr-x2-binary.csv").read_text() for place in (stopped, whole)]
    assert curves[0] == curves[1]


def test_a_second_call_is_told_that_another_trains_and_starts_nothing(published, tmp_path):
    place = published.copy(tmp_path / "place")
    place.change(lambda params: params["train"]["edsr"].update(learning_rate=0.0005))
    with (place.folder / "zoo/unfinished/.edsr-x2-float.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        output = place.run("train", "--params", "params.yaml", "--queue", "queue.yaml", exit_code=2)
    assert "error: edsr-x2-float: another process trains it; to train two at once, " in output
    assert "edsr-x2-binary: " not in output


def test_one_of_the_queue_can_be_trained_alone(untrained, tmp_path):
    place = untrained.copy(tmp_path / "place")
    only = ("train", "--params", "params.yaml", "--queue", "queue.yaml", "--only")
    assert "--only: queue.yaml has no training edsr; " in place.run(*only, "edsr", exit_code=2)
    said = place.run(*only, "edsr-x2-binary-warm", exit_code=2)
    assert "edsr-x2-binary-warm: starts from a network that is not trained yet" in said
    place.run(*only, "edsr-x2-binary")
    assert [path.name for path in (place.folder / "zoo").glob("*.safetensors")] == ["edsr-x2-binary.safetensors"]


def test_a_network_waits_for_the_one_that_it_starts_from_to_be_trained_anew(published, tmp_path):
    place = published.copy(tmp_path / "place")
    place.change(lambda params: params["train"]["edsr"].update(learning_rate=0.0005))
    with (place.folder / "zoo/unfinished/.edsr-x2-float-seed5.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another call trains it
        place.run("train", "--params", "params.yaml", "--queue", "queue.yaml", exit_code=2)
        status = place.run("status", *STATUS)
    assert "edsr-x2-binary-warm  waiting for edsr-x2-float-seed5" in status
    assert "edsr-x2-float-seed5  starting" in status and "edsr-x2-binary       trained" in status


def test_a_shorter_profile_replaces_no_network_and_one_that_fails_stops_no_other(published, tmp_path):
    place = published.copy(tmp_path / "place")
    before = (place.folder / "zoo/edsr-x2-float.safetensors").read_bytes()
    place.change(lambda params: params.update(profile="shorter"))
    place.change(lambda params: params["train"]["edsr"].update(iterations=11))
    output = place.run("train", "--params", "params.yaml", "--queue", "queue.yaml", exit_code=2)
    said = (
        "edsr-x2-float.safetensors: was trained for 12 iterations with profile quick, and profile shorter would "
        "replace it after only 11; use profile quick, or move the file"
    )
    assert output.count(said) == 1 and (place.folder / "zoo/edsr-x2-float.safetensors").read_bytes() == before
    assert "vdsr-x24-binary: 12 iterations" in output


def test_published_scores_are_those_of_the_files_in_the_zoo(published):
    images = PreparedSet.open(published.folder / "data/prepared/embedded-test")
    engine = Engine.load(published.folder / "zoo/edsr-x2-binary.safetensors", activations="int8")
    expected = np.mean([psnr(engine.upscale(images.lr(i, 2)), images.hr(i, 2), border=2) for i in range(len(images))])
    held = results(published)["edsr-x2-binary"]["sets"]["embedded-test"]
    assert held["engine_int8"]["psnr_y"] == pytest.approx(expected, abs=1e-4)
    assert set(results(published)) == {"bicubic-x2", "bicubic-x4", *NAMES}
    with (published.folder / "zoo/results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "edsr-x2-float" and row["backend"] == "torch"]
    assert [row["image"] for row in rows] == images.names
    mean = np.mean([float(row["psnr_y"]) for row in rows])
    assert mean == pytest.approx(
        results(published)["edsr-x2-float"]["sets"]["embedded-test"]["torch"]["psnr_y"], abs=1e-4
    )
    index = json.loads((published.folder / "zoo/index.json").read_text())["models"]
    for entry in index:
        data = (published.folder / "zoo" / entry["file"]).read_bytes()
        assert (entry["sha256"], entry["bytes"]) == (sha256(data).hexdigest(), len(data))


def test_cards_say_how_and_how_well(published):
    card = (published.folder / "zoo/edsr-x2-binary.md").read_text()
    held = results(published)["edsr-x2-binary"]["sets"]["embedded-test"]["torch"]
    real = results(published)["edsr-x2-float"]["sets"]["embedded-test"]["torch"]
    assert f"| embedded-test | PyTorch | {held['psnr_y']:.2f} | {held['psnr_rgb']:.2f} | {held['ssim_y']:.4f} |" in card
    with (published.folder / "zoo/gaps.csv").open() as file:
        (gap,) = [row for row in csv.DictReader(file) if row["binary"] == "edsr-x2-binary"]
    assert float(gap["gap"]) == pytest.approx(real["psnr_y"] - held["psnr_y"], abs=1e-3)
    assert float(gap["low"]) <= float(gap["gap"]) <= float(gap["high"])
    below, *ends = (labels.number(float(gap[key]), 2) for key in ("gap", "low", "high"))
    assert f"| embedded-test | {gap['images']} | {below} | {' to '.join(ends)} |" in card
    assert "its float twin, trained alike" in card and "| start | fresh weights |" in card
    said = "12 iterations on embedded-train, where the paper of EDSR trains for 300,000:"
    assert f"**A short run.** {said}" in card and "h of processor time" in card
    warm = (published.folder / "zoo/edsr-x2-binary-warm.md").read_text()
    assert "| start | edsr-x2-float-seed5 (" in warm and "filter scale: learnable; binary convolutions: blocks" in warm
    assert "| loss | l1, 0.5 of it against the output of the float network |" in warm
    assert "one network for ×2, ×4" in (published.folder / "zoo/vdsr-x2-float.md").read_text()
    overview = (published.folder / "zoo/README.md").read_text()
    assert "| 12 |" in overview and "| + 6 |" in overview and "embedded-test" in overview


def test_publishing_again_runs_nothing_and_a_new_network_alone(published, tmp_path):
    place = published.copy(tmp_path / "place")
    before = {path.name: path.read_bytes() for path in (place.folder / "zoo").iterdir() if path.is_file()}
    assert place.run("publish", "--sets", "embedded-test") == ""
    assert before == {path.name: path.read_bytes() for path in (place.folder / "zoo").iterdir() if path.is_file()}
    killed = json.loads((place.folder / "zoo/results.json").read_text())  # its rows were written, its means not yet
    del killed["methods"]["edsr-x2-binary"]["sets"]["embedded-test"]["engine_int8"]
    (place.folder / "zoo/results.json").write_text(json.dumps(killed))
    assert place.run("publish", "--sets", "embedded-test") == "edsr-x2-binary on embedded-test by engine_int8\n"
    assert before == {path.name: path.read_bytes() for path in (place.folder / "zoo").iterdir() if path.is_file()}
    queue = place.folder / "queue.yaml"
    queue.write_text(queue.read_text().replace("distillation: 0.5", "distillation: 0.25"))
    place.run("train", "--params", "params.yaml", "--queue", "queue.yaml")
    output = place.run("publish", "--sets", "embedded-test")
    assert output == "edsr-x2-binary-warm on embedded-test by torch\n"
    for name in NAMES[4:]:
        (place.folder / f"zoo/{name}.safetensors").unlink()
    place.run("publish", "--sets", "embedded-test")
    assert set(results(place)) == {"bicubic-x2", *NAMES[:4]}


def test_after_a_change_of_the_calibration_only_what_depends_on_it_is_scored_again(published, tmp_path):
    place = published.copy(tmp_path / "place")
    binary = [name for name in NAMES if "binary" in name]
    zoo, before = place.folder / "zoo", results(place)
    lines = place.run("recalibrate", "--params", "params.yaml").splitlines()
    assert sorted(lines) == sorted(f"{name}: as before" for name in binary)
    assert results(place) == before
    place.change(lambda params: params["export"].update(calibration_percentiles=[90.0]))
    records = {name: (zoo / name).read_text() for name in ("index.json", "results.json")}
    one = place.run("recalibrate", "--params", "params.yaml", "--models", "edsr-x2-binary")
    assert one == "edsr-x2-binary: other ranges\n"
    complete = {name: (zoo / name).read_text() for name in records}
    for name, text in records.items():  # as of a call that was killed after it wrote the network
        (zoo / name).write_text(text)
    assert place.run("recalibrate", "--params", "params.yaml", "--models", "edsr-x2-binary") == one
    assert {name: (zoo / name).read_text() for name in records} == complete
    output = one + place.run("recalibrate", "--params", "params.yaml")
    changed = [name for name in binary if f"{name}: other ranges" in output]
    assert "edsr-x2-binary" in changed
    for name in changed:
        old, new = (read(folder / f"{name}.safetensors") for folder in (published.folder / "zoo", zoo))
        assert old.metadata["activations"]["int8"] != new.metadata["activations"]["int8"]
        assert all(np.array_equal(new.tensors[key], value) for key, value in old.tensors.items())
        assert {by for means in results(place)[name]["sets"].values() for by in means} <= {"torch", *EXACT_MODES}
    output = place.run("publish", "--sets", "embedded-test")
    after = results(place)
    assert "edsr-x2-binary on embedded-test by engine_int6_all" in output and "by torch" not in output
    assert after.keys() == before.keys()
    for name, entry in after.items():
        assert entry["sha256"] == (before[name]["sha256"] if name not in changed else digest(zoo, name))
        for test_set, means in entry["sets"].items():
            assert means.keys() == before[name]["sets"][test_set].keys()
            kept = means.keys() if name not in changed else means.keys() & {"torch", *EXACT_MODES}
            assert all(means[by] == before[name]["sets"][test_set][by] for by in kept)


def test_a_zoo_without_networks_is_not_published(published, tmp_path):
    place = published.copy(tmp_path / "place")
    for path in (place.folder / "zoo").glob("*.safetensors"):
        path.unlink()
    before = {path.name: path.read_bytes() for path in (place.folder / "zoo").iterdir() if path.is_file()}
    assert "zoo: holds no trained network" in place.run("publish", "--sets", "embedded-test", exit_code=2)
    assert before == {path.name: path.read_bytes() for path in (place.folder / "zoo").iterdir() if path.is_file()}


def test_a_pair_needs_equal_terms(published):
    models = read_index(published.folder / "zoo")
    named = {model.name: model for model in models}
    real, binary = named["edsr-x2-float"], named["edsr-x2-binary"]
    assert twin_of(binary, models) == real and twin_of(real, models) is None
    assert twin_of(named["edsr-x2-binary-warm"], models) is None
    plan = binary.training["plan"]
    for change in (
        {"seed": 1},
        {"profile": "other"},
        {"training_set": "other"},
        {"start": {"name": "a", "sha256": "b"}},
        {"settings": plan["settings"] | {"iterations": 13}},
    ):
        other = replace(binary, training=binary.training | {"plan": plan | change})
        assert twin_of(other, models) is None, change


def test_an_imported_network_is_the_twin_of_the_one_that_started_from_it(published):
    models = read_index(published.folder / "zoo")
    named = {model.name: model for model in models}
    record = {"imported": {"file": "a.mat"}, "plan": {"profile": "imported", "start": None}}
    real = replace(named["vdsr-x2-float"], name="vdsr-x2-float-imported", variant="imported", training=record)
    plan = named["vdsr-x2-binary"].training["plan"] | {"start": {"name": real.name, "sha256": real.sha256}}
    training = named["vdsr-x2-binary"].training | {"plan": plan}
    binary = replace(named["vdsr-x2-binary"], name="vdsr-x2-binary-imported", variant="imported", training=training)
    assert twin_of(binary, [*models, real, binary]) == real
    assert (real, binary) in pairs([*models, real, binary])
    assert twin_of(binary, [*models, replace(real, sha256="0" * 64), binary]) is None


def test_seeds_of_a_pair_are_found_and_the_first_stands_in_for_it(published):
    models = read_index(published.folder / "zoo")
    both = [model for model in models if model.name in ("edsr-x2-float", "edsr-x2-binary")]
    seeds = [replace(m, name=f"{m.name}-seed{n}", variant=f"seed{n}") for n in (0, 1) for m in both]
    ((several),) = seed_pairs(seeds).values()
    assert [binary.variant for _, binary in several] == ["seed0", "seed1"]
    assert [binary.variant for _, binary in pairs(seeds)] == ["seed0"]
    longer = [replace(m, training=m.training | {"plan": m.training["plan"] | {"settings": {}}}) for m in seeds[:2]]
    ((alone,),) = seed_pairs([*longer, *seeds[2:]]).values()  # of two plans, the last one's
    assert alone[1].variant == "seed1"
    assert [binary.variant for _, binary in pairs([*both, *seeds])] == [""]


def test_verify_agrees_with_what_was_published_and_tells_what_does_not(published, tmp_path):
    output = published.run("verify", "--all", "--sets", "embedded-test")
    count = 28 + 3 * BFLOAT16  # of three binary networks
    assert f"all {count} equal" in output and output.count(" equal\n") == count
    output = published.run("verify", "--sets", "embedded-test")  # the main networks, in fewer modes
    assert "all 17 equal" in output and "seed5" not in output and "warm" not in output
    place = published.copy(tmp_path / "place")
    path = place.folder / "zoo/results.json"
    changed = json.loads(path.read_text())
    changed["methods"]["edsr-x2-binary"]["sets"]["embedded-test"]["engine_int8"]["psnr_y"] += 0.02
    path.write_text(json.dumps(changed))
    arguments = ("verify", "--all", "--sets", "embedded-test", "--models", "edsr-x2-binary")
    output = place.run(*arguments, exit_code=1)
    assert output.count("DIFFERENT in psnr_y") == 1 and f"error: 1 of {7 + BFLOAT16} differ from" in output
    del changed["methods"]["edsr-x2-binary"]["sets"]["embedded-test"]["engine_int8"]
    path.write_text(json.dumps(changed))
    assert place.run(*arguments, exit_code=1).count("DIFFERENT") == 1  # never published is not equal
    output = place.run("verify", "--sets", "embedded-test", "--models", "edsr-x2-float")
    assert "all 3 equal" in output and "engine_float32" in output  # bicubic, PyTorch, and one mode of a float network


def test_an_interrupted_verification_goes_on_with_the_same_code_alone(published, tmp_path):
    place = published.copy(tmp_path / "place")
    identity = ("-c", "user.name=A. Tester", "-c", "user.email=tester@example.org", "-c", "commit.gpgsign=false")

    def git(*arguments):
        subprocess.run(["git", *identity, *arguments], cwd=place.folder, check=True)

    git("init", "--quiet")
    git("add", "params.yaml")
    git("commit", "--quiet", "--message", "One")
    arguments = ("--all", "--sets", "embedded-test", "--models", "edsr-x2-float", "edsr-x2-binary")
    every = f"all {9 + BFLOAT16} equal"
    process = place.start("verify", *arguments)
    assert any("edsr-x2-float " in line for line in process.stdout)  # which ends with the process
    process.kill()
    process.communicate()
    kept = place.folder / "zoo/unfinished/.verify.json"
    held = json.loads(kept.read_text())
    (key,) = [key for key in held["means"] if key.startswith("edsr-x2-float (")]
    held["means"][key]["torch"]["psnr_y"] += 1  # to see that it is taken as it was found
    kept.write_text(json.dumps(held))
    git("commit", "--quiet", "--allow-empty", "--message", "Two")
    elsewhere = shutil.copytree(place.folder, tmp_path / "elsewhere")
    assert "kept" not in (output := Place(elsewhere).run("verify", *arguments)) and every in output
    git("reset", "--quiet", held["made_by"]["commit"])
    other = {**held, "made_by": {**held["made_by"], "packages": {"torch": "1.0"}}}  # as before an update of PyTorch
    kept.write_text(json.dumps(other))
    updated = shutil.copytree(place.folder, tmp_path / "updated")
    assert "kept" not in (output := Place(updated).run("verify", *arguments)) and every in output
    kept.write_text(json.dumps(held))
    bicubic = place.run("verify", "--sets", "embedded-test", "--models", "vdsr-x4-binary")
    assert "bicubic-x4 " in bicubic and kept.exists()  # of other networks: forgets nothing of these
    output = place.run("verify", *arguments, exit_code=1)
    assert "kept from an interrupted verification" in output and f"error: 1 of {9 + BFLOAT16} differ" in output
    assert not kept.exists()
    assert every in place.run("verify", *arguments)


def test_a_file_that_is_not_the_published_one_is_named(published, tmp_path):
    place = published.copy(tmp_path / "place")
    zoo = place.folder / "zoo"
    shutil.copyfile(zoo / "edsr-x2-float.safetensors", zoo / "edsr-x2-binary.safetensors")
    arguments = ("verify", "--sets", "embedded-test", "--models")
    output = place.run(*arguments, "edsr-x2-binary", exit_code=2)
    assert "error: zoo/edsr-x2-binary.safetensors: its SHA-256 differs from zoo/index.json" in output
    (zoo / "edsr-x2-binary.safetensors").unlink()
    assert "edsr-x2-binary.safetensors: missing" in place.run(*arguments, "edsr-x2-binary", exit_code=2)
    assert "has no network esdr" in place.run(*arguments, "esdr", exit_code=2)
    arguments = ("verify", "--sets", "embedded-valid", "--models")
    assert "has no scores on embedded-valid" in place.run(*arguments, "edsr-x2-float", exit_code=2)


@pytest.mark.parametrize("profile", ["cpu", "bsd"])
def test_every_entry_of_the_queue_can_be_planned_under_every_profile_for_it(tmp_path, profile):
    queue = load_queue(ROOT / "conf/queue.yaml")
    compose(profile, tmp_path / "params.yaml", ROOT / "conf")
    params = load_params(tmp_path / "params.yaml")
    for entry in queue:
        plan = entry.plan(params, None)
        profiles = params.training(entry.model).iterations
        assert plan.settings.iterations == entry.length * entry.train.get("iterations", profiles)
        assert plan.settings.batch % len(plan.scales) == 0
        assert len({scale * plan.settings.patch.lr_size(scale) for scale in plan.scales}) == 1


@pytest.mark.parametrize("profile", ["paper", "quick"])
def test_profiles_whose_vdsr_has_crops_that_scales_cannot_share_are_refused(tmp_path, profile):
    compose(profile, tmp_path / "params.yaml", ROOT / "conf")
    with pytest.raises(InputError, match="vdsr"):
        Queue(load_queue(ROOT / "conf/queue.yaml"), load_params(tmp_path / "params.yaml"), tmp_path).check()


@pytest.mark.parametrize("batch", [7, 8])
def test_scales_that_cannot_share_a_batch_are_refused_before_anything_is_trained(untrained, tmp_path, batch):
    place = untrained.copy(tmp_path / "place")
    patch = {"size": 30 if batch == 8 else 32, "of": "hr"}
    place.change(lambda params: params["train"]["vdsr"].update(batch=batch, patch=patch))
    output = place.run("train", "--params", "params.yaml", "--queue", "queue.yaml", exit_code=2)
    assert output.startswith("error: params.yaml: train.vdsr: scales 2, 4 share each batch") and output.count("\n") == 1
    assert not (place.folder / "zoo").exists()
    pytest.importorskip("distributed", reason="needs the extra `cluster`")
    from pipeline.cluster.trainings import TrainingGraph

    with pytest.raises(InputError, match="scales 2, 4 share each batch"):
        TrainingGraph(*(place.folder / name for name in ("params.yaml", "queue.yaml", "zoo")))
    (place.folder / "queue.yaml").write_text("- {model: edsr, scales: [2], weights: float}\n")
    TrainingGraph(*(place.folder / name for name in ("params.yaml", "queue.yaml", "zoo")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {model: edsr, scales: [5], weights: float}", "0.scales"),
        ("- {model: edsr, scales: [2], weights: float}\n" * 2, "edsr-x2-float: occurs twice"),
        ("- {model: [", "not valid YAML"),
        ("- {model: edsr, scales: [2, 4], weights: float}", "0: Value error, scales:"),
        ("- {model: edsr, scales: [2], weights: binary, distillation: 0.5}", "0: Value error, distillation:"),
        ("- {model: edsr, scales: [2], weights: float, start: seed0}", "0: Value error, start:"),
        ("- {model: vdsr, scales: [2], weights: binary, source: VDSR}", "0: Value error, source:"),
    ],
)
def test_a_wrong_queue_is_refused_in_one_line(untrained, tmp_path, text, message):
    queue = tmp_path / "queue.yaml"
    queue.write_text(text)
    output = untrained.run("train", "--queue", str(queue), exit_code=2)
    assert output.startswith(f"error: {queue}: ") and message in output and output.count("\n") == 1
