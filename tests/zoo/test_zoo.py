"""Training, publishing and verifying a zoo, by its commands."""

import csv
import fcntl
import json
import shutil
import subprocess
import time
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from pipeline.data.prepared import PreparedSet
from pipeline.engine import Engine
from pipeline.metrics import psnr
from pipeline.packed import read, stored_dtype
from pipeline.packing import load
from pipeline.params import load_params
from pipeline.profiles import compose
from pipeline.reporting import labels
from pipeline.zoo.catalogue import control_of, iterations, iterations_before, read_index
from pipeline.zoo.queue import load_queue
from tests.conftest import ROOT
from tests.small_zoo import NAMES, Place


def results(place):
    return json.loads((place.folder / "zoo/results.json").read_text())["methods"]


def test_the_queue_is_trained_whole_each_binary_network_from_its_twin(published):
    zoo = published.folder / "zoo"
    assert sorted(path.stem for path in zoo.glob("*.safetensors")) == sorted(NAMES)
    training = {name: read(zoo / f"{name}.safetensors").metadata["training"] for name in NAMES}
    assert training["edsr-x2-binary-scratch"]["plan"]["start"] is None
    assert training["edsr-x2-binary-scratch"]["plan"]["network"]["scale_rule"] == "analytic"
    twin = zoo / "vdsr-x4-float-seed5.safetensors"
    assert training["vdsr-x4-binary-seed5"]["plan"]["start"] == {
        "name": "vdsr-x4-float-seed5",
        "sha256": sha256(twin.read_bytes()).hexdigest(),
    }
    control, binary = (training[f"edsr-x2-{name}"]["plan"] for name in ("float-continued", "binary"))
    assert control["start"] == binary["start"] and control["settings"] == binary["settings"]
    assert "scope" not in control["network"] and training["edsr-x2-float-continued"]["start"] == "float"
    assert training["vdsr-x4-binary-seed5"]["seed"] == 5 and training["edsr-x2-float"]["seed"] == 0
    iterations = {name: record["iterations"] for name, record in training.items()}
    both = 24  # float and binary
    assert iterations == dict.fromkeys(NAMES, 12) | {"edsr-x2-binary-scratch": both}
    assert all(record["float16_loss_db"] < 0.005 for record in training.values())
    assert {stored_dtype(zoo / f"{name}.safetensors") for name in NAMES} == {"float16"}
    assert not [path for path in (zoo / "unfinished").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert len(list((zoo / "history").glob("*.csv"))) == len(NAMES)


def test_what_is_finished_is_not_trained_again_but_under_other_settings(published, tmp_path):
    place = published.copy(tmp_path / "place")
    assert place.run("train", "--queue", "queue.yaml") == "all trained\n"
    place.change(lambda params: params["train"]["edsr"]["binary"].update(learning_rate=0.0005))
    output = place.run("train", "--queue", "queue.yaml")
    assert "edsr-x2-binary: 12 iterations" in output and "edsr-x2-binary-scratch: 24 iterations" in output
    assert "edsr-x2-float-continued: 12 iterations" in output  # it goes with the binary network
    assert "edsr-x2-float: " not in output and "vdsr" not in output
    place.change(lambda params: params["train"]["vdsr"]["float"].update(learning_rate=0.0005))
    output = place.run("train", "--queue", "queue.yaml")  # a new float network gives a new twin
    assert "vdsr-x4-float-seed5: 12 iterations" in output and "vdsr-x4-binary-seed5: 12 iterations" in output


def test_a_time_limit_stops_cleanly_and_the_next_call_goes_on_to_the_same_network(published, untrained, tmp_path):
    place = untrained.copy(tmp_path / "place")
    output = place.run("train", "--queue", "queue.yaml", "--minutes", "0.0001")
    assert f"still to be trained: {', '.join(NAMES)}" in output
    state = place.folder / "zoo/unfinished/quick/edsr-x2-float"
    assert all(path.stat().st_size <= 16 * 2**20 for path in state.iterdir()) and (state / "state.json").exists()
    output = place.run("train", "--queue", "queue.yaml")
    assert "going on from zoo/unfinished/quick/edsr-x2-float at iteration" in output and "all trained" in output
    again, once = (load(which.folder / "zoo/edsr-x2-float.safetensors").state_dict() for which in (place, published))
    assert all((again[name] == once[name]).all() for name in once)


def test_two_calls_at_once_take_different_networks(untrained, tmp_path):
    place = untrained.copy(tmp_path / "place")
    place.change(lambda params: [params["train"][m]["float"].update(iterations=150) for m in ("edsr", "vdsr")])
    first = place.start("train", "--queue", "queue.yaml")
    lock = place.folder / "zoo/unfinished/.edsr-x2-float.lock"
    while not lock.exists() and first.poll() is None:
        time.sleep(0.01)
    time.sleep(0.1)  # from the file's creation to its lock
    second = place.run("train", "--queue", "queue.yaml")
    output, _ = first.communicate()
    assert "Traceback" not in output and first.returncode == 0
    for name in NAMES:
        assert (place.folder / f"zoo/{name}.safetensors").exists()
        assert (f"{name}: " in output) != (f"{name}: " in second), name


def test_a_binary_network_waits_for_its_float_network_to_be_trained_anew(published, tmp_path):
    place = published.copy(tmp_path / "place")
    place.change(lambda params: params["train"]["edsr"]["float"].update(learning_rate=0.0005))
    with (place.folder / "zoo/unfinished/.edsr-x2-float.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another call trains it
        output = place.run("train", "--queue", "queue.yaml")
    assert "iterations" not in output.replace("edsr-x2-binary-scratch: 24 iterations", "")
    assert "still to be trained: edsr-x2-float, edsr-x2-binary, edsr-x2-float-continued" in output


def test_a_shorter_profile_replaces_no_network_and_one_that_fails_stops_no_other(published, tmp_path):
    place = published.copy(tmp_path / "place")
    before = (place.folder / "zoo/edsr-x2-float.safetensors").read_bytes()
    place.change(lambda params: params.update(profile="shorter"))
    place.change(lambda params: params["train"]["edsr"]["float"].update(iterations=11))
    output = place.run("train", "--queue", "queue.yaml", exit_code=2)
    said = (
        "edsr-x2-float.safetensors: trained for 12 iterations as profile quick says, which 11 of shorter would replace"
    )
    assert output.count(said) == 1 and (place.folder / "zoo/edsr-x2-float.safetensors").read_bytes() == before
    assert "vdsr-x4-binary-seed5: 12 iterations" in output


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
    longer = results(published)["edsr-x2-float-continued"]["sets"]["embedded-test"]["torch"]
    below = [labels.number(level["psnr_y"] - held["psnr_y"], 2) for level in (real, longer)]
    assert f"| {below[0]} | {below[1]} |\n" in card and "| gap | gap, trained as long |" in card
    said = "12 iterations after the 12 of edsr-x2-float on embedded-train, where the paper of EDSR trains for 300,000:"
    assert f"**A short run.** {said}" in card
    overview = (published.folder / "zoo/README.md").read_text()
    assert "| 12 + 12 |" in overview and "| 24 |" in overview
    assert "the weights of edsr-x2-float" in card and "scale learnable, convolutions: blocks" in card
    assert "embedded-test" in (published.folder / "zoo/README.md").read_text()


def test_publishing_again_runs_nothing_and_a_new_network_alone(published, tmp_path):
    place = published.copy(tmp_path / "place")
    before = {path.name: path.read_bytes() for path in (place.folder / "zoo").iterdir() if path.is_file()}
    assert place.run("publish", "--sets", "embedded-test") == ""
    assert before == {path.name: path.read_bytes() for path in (place.folder / "zoo").iterdir() if path.is_file()}
    place.change(lambda params: params["train"]["edsr"]["binary"].update(distillation=0.25))
    place.run("train", "--queue", "queue.yaml")
    output = place.run("publish", "--sets", "embedded-test")
    assert output.splitlines() == ["edsr-x2-binary on embedded-test"]  # the one from scratch has no teacher
    card = (place.folder / "zoo/edsr-x2-binary.md").read_text()
    assert "| loss | l1, 0.25 of it against the output of the float network |" in card
    (place.folder / "zoo/vdsr-x4-binary-seed5.safetensors").unlink()
    (place.folder / "zoo/vdsr-x4-float-seed5.safetensors").unlink()
    place.run("publish", "--sets", "embedded-test")
    assert set(results(place)) == {"bicubic-x2", *NAMES[:4]}


def test_a_zoo_without_networks_is_not_published(published, tmp_path):
    place = published.copy(tmp_path / "place")
    for path in (place.folder / "zoo").glob("*.safetensors"):
        path.unlink()
    before = {path.name: path.read_bytes() for path in (place.folder / "zoo").iterdir() if path.is_file()}
    assert "zoo: holds no trained network" in place.run("publish", "--sets", "embedded-test", exit_code=2)
    assert before == {path.name: path.read_bytes() for path in (place.folder / "zoo").iterdir() if path.is_file()}


def test_iterations_are_not_those_of_a_network_that_has_replaced_the_start(published):
    models = read_index(published.folder / "zoo")
    (binary,) = [model for model in models if model.name == "edsr-x2-binary"]
    assert iterations(binary, models) == "12 + 12"
    longer = [replace(m, sha256="0" * 64) if m.name == "edsr-x2-float" else m for m in models]
    assert iterations_before(binary, longer) is None and iterations(binary, longer) == "? + 12"
    (real,) = [model for model in models if model.name == "edsr-x2-float"]
    assert iterations(real, models) == "12"


def test_a_float_network_is_as_long_trained_as_one_from_scratch_by_all_its_iterations(published):
    models = read_index(published.folder / "zoo")
    named = {model.name: model for model in models}
    control, scratch = named["edsr-x2-float-continued"], named["edsr-x2-binary-scratch"]
    assert control_of(named["edsr-x2-binary"], models) == control  # from the same start, 12 more
    assert iterations(control, models) == "12 + 12" and iterations(scratch, models) == "24"
    assert control_of(scratch, models) == control
    for change in ({"iterations": 12}, {"seed": 1}):
        assert control_of(replace(scratch, training=scratch.training | change), models) is None
    without_start = [model for model in models if model.name != "edsr-x2-float"]
    assert control_of(scratch, without_start) is None  # nobody knows how long


def test_verify_agrees_with_what_was_published_and_tells_what_does_not(published, tmp_path):
    output = published.run("verify", "--sets", "embedded-test")
    assert "all 20 equal" in output and output.count(" equal\n") == 20
    place = published.copy(tmp_path / "place")
    path = place.folder / "zoo/results.json"
    changed = json.loads(path.read_text())
    changed["methods"]["edsr-x2-binary"]["sets"]["embedded-test"]["engine_int8"]["psnr_y"] += 0.02
    path.write_text(json.dumps(changed))
    arguments = ("verify", "--sets", "embedded-test", "--models", "edsr-x2-binary")
    output = place.run(*arguments, exit_code=1)
    assert output.count("DIFFERENT in psnr_y") == 1 and "error: 1 of 7 differ from zoo/results.json" in output
    del changed["methods"]["edsr-x2-binary"]["sets"]["embedded-test"]["engine_int8"]
    path.write_text(json.dumps(changed))
    assert place.run(*arguments, exit_code=1).count("DIFFERENT") == 1  # never published is not equal


def test_an_interrupted_verification_goes_on_with_the_same_code_alone(published, tmp_path):
    place = published.copy(tmp_path / "place")
    identity = ("-c", "user.name=A. Tester", "-c", "user.email=tester@example.org", "-c", "commit.gpgsign=false")

    def git(*arguments):
        subprocess.run(["git", *identity, *arguments], cwd=place.folder, check=True)

    git("init", "--quiet")
    git("add", "params.yaml")
    git("commit", "--quiet", "--message", "One")
    arguments = ("--sets", "embedded-test", "--models", "edsr-x2-float", "edsr-x2-binary")
    process = place.start("verify", *arguments)
    while "edsr-x2-float " not in process.stdout.readline():
        pass
    process.kill()
    process.communicate()
    kept = place.folder / "zoo/unfinished/.verify.json"
    held = json.loads(kept.read_text())
    (key,) = [key for key in held["found"] if key.startswith("edsr-x2-float (")]
    held["found"][key]["torch"]["psnr_y"] += 1  # to see that it is taken as it was found
    kept.write_text(json.dumps(held))
    git("commit", "--quiet", "--allow-empty", "--message", "Two")
    elsewhere = shutil.copytree(place.folder, tmp_path / "elsewhere")
    assert "kept" not in (output := Place(elsewhere).run("verify", *arguments)) and "all 9 equal" in output
    git("reset", "--quiet", held["commit"])
    bicubic = place.run("verify", "--sets", "embedded-test", "--models", "vdsr-x4-binary-seed5")
    assert "bicubic-x4 " in bicubic and kept.exists()  # of other networks: forgets nothing of these
    output = place.run("verify", *arguments, exit_code=1)
    assert "kept from an interrupted verification" in output and "error: 1 of 9 differ" in output
    assert not kept.exists()
    assert "all 9 equal" in place.run("verify", *arguments)


def test_a_file_that_is_not_the_published_one_is_named(published, tmp_path):
    place = published.copy(tmp_path / "place")
    zoo = place.folder / "zoo"
    shutil.copyfile(zoo / "edsr-x2-float.safetensors", zoo / "edsr-x2-binary.safetensors")
    arguments = ("verify", "--sets", "embedded-test", "--models")
    output = place.run(*arguments, "edsr-x2-binary", exit_code=2)
    assert "error: zoo/edsr-x2-binary.safetensors: its SHA-256 is not that of zoo/index.json" in output
    (zoo / "edsr-x2-binary.safetensors").unlink()
    assert "edsr-x2-binary.safetensors: missing" in place.run(*arguments, "edsr-x2-binary", exit_code=2)
    assert "has no esdr" in place.run(*arguments, "esdr", exit_code=2)
    arguments = ("verify", "--sets", "embedded-valid", "--models")
    assert "has no results on embedded-valid" in place.run(*arguments, "edsr-x2-float", exit_code=2)


def test_where_a_profile_starts_from_scratch_the_queue_has_no_control_and_no_such_variant(tmp_path):
    queue = load_queue(ROOT / "conf/queue.yaml")
    left_out = {}
    for profile in ("bsd-cpu", "bsd", "paper"):
        compose(profile, tmp_path / "params.yaml", ROOT / "conf")
        params = load_params(tmp_path / "params.yaml")
        left_out[profile] = {entry.run.variant for entry in queue if not entry.applies(params)}
        taught = next(entry for entry in queue if entry.run.variant == "distilled")
        settings = taught.plan(params, None).settings
        assert taught.starts_from(params) is not None and (settings.start, settings.distillation) == ("float", 0.5)
    assert left_out == {"bsd-cpu": set(), "bsd": set(), "paper": {"continued", "scratch"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {model: edsr, scale: 5, weights: float}", "0.scale"),
        ("- {model: edsr, scale: 2, weights: float}\n" * 2, "edsr-x2-float comes twice"),
        ("- {model: [", "cannot be read"),
        (
            "- {model: edsr, scale: 2, weights: binary, start: scratch, distillation: 0.5}",
            "0: Value error, distillation:",
        ),
        ("- {model: edsr, scale: 2, weights: binary, distillation: 0.5}", "0: Value error, distillation:"),
        ("- {model: edsr, scale: 2, weights: float, start: float}", "0: Value error, variant:"),
    ],
)
def test_a_wrong_queue_is_refused_in_one_line(untrained, tmp_path, text, message):
    queue = tmp_path / "queue.yaml"
    queue.write_text(text)
    output = untrained.run("train", "--queue", str(queue), exit_code=2)
    assert output.startswith(f"error: {queue}: ") and message in output and output.count("\n") == 1
