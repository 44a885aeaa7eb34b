"""Trainings that explode, and trainings on images of one colour, from params.yaml to the scores."""

import json
import re

import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline.data.preparation import prepare
from pipeline.metrics import MOST_DB
from pipeline.profiles import compose
from pipeline.runs import SCALES, prepared_folder, raw_folder
from tests.conftest import ROOT
from tests.small import run_here, small_sizes, write_sets

SETS = ("embedded-train", "embedded-valid", "embedded-test")
EXPLODED = (
    r"error: training: (the loss|a weight|the output for a validation image) is not finite at iteration \d; "
    r"there is no checkpoint yet; lower the learning rate or clip the gradients in params\.yaml"
)


def write_params(folder, model, **changes):
    if not (folder / "params.yaml").exists():
        compose("quick", folder / "params.yaml", ROOT / "conf")
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["matrix"]["models"] = [model]
    params["network"][model] = small_sizes(model, channels=32, residual_scale=1.0)
    few = {"iterations": 4, "batch": 2, "validate_every": 4, "checkpoint_every": 4, "max_minutes": None}
    params["train"][model] |= few | changes
    params["export"] |= {"calibration_images": 2, "calibration_crop": 8}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def network(model):
    return ["--model", model, "--scale", "2", "--weights", "binary"]


def written(folder):
    return {path.name for name in ("models", "history", "checkpoints") for path in (folder / name).rglob("*.*")}


@pytest.mark.parametrize(
    ("model", "optimizer", "iterations"),
    [("edsr", "sgd", 4), ("edsr", "sgd", 2), ("srresnet", "adam", 4), ("vdsr", "sgd", 4), ("edsr", "muon", 3)],
)
def test_an_explosion_is_one_line_and_leaves_no_network(tmp_path, model, optimizer, iterations):
    write_sets(tmp_path, *SETS[:2], height=48, width=40)
    fast = {"learning_rate": 1000.0, "latent_rate": 1000.0, "clip": {"kind": "none", "limit": 1.0}, "loss": "mse"}
    write_params(tmp_path, model, optimizer=optimizer, iterations=iterations, **fast)
    code, errors = run_here(tmp_path, "stages.train", *network(model))
    assert code == 2 and len(errors) == 1 and re.fullmatch(EXPLODED, errors[0]), errors
    assert written(tmp_path) == set()
    write_params(tmp_path, model, learning_rate=1e-4, latent_rate=1.0)
    assert run_here(tmp_path, "stages.train", *network(model)) == (0, [])
    assert {f"{model}-x2-binary.safetensors", f"{model}-x2-binary.csv"} <= written(tmp_path)


def refuse(token):
    raise AssertionError(f"{token} is no JSON")


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("model", ["edsr", "srresnet", "vdsr"])
def test_images_of_one_colour_are_trained_on_packed_and_scored(tmp_path, model, level):
    for name in SETS:
        (tmp_path / raw_folder(name)).mkdir(parents=True)
        Image.fromarray(np.full((48, 40, 3), level, np.uint8)).save(tmp_path / raw_folder(name) / "a.png")
        prepare(tmp_path / raw_folder(name), tmp_path / prepared_folder(name), SCALES)
    write_params(tmp_path, model, learning_rate=0.1)
    for stage in ("stages.train", "stages.export"):
        assert run_here(tmp_path, stage, *network(model)) == (0, [])
    assert run_here(tmp_path, "stages.evaluate", "--set", SETS[2], *network(model)) == (0, [])
    assert run_here(tmp_path, "stages.bicubic", "--set", SETS[2], "--scale", "2") == (0, [])
    read = {path: json.loads(path.read_text(), parse_constant=refuse) for path in tmp_path.glob("results/**/*.json")}
    assert len(read) == 4
    bicubic = read[tmp_path / f"results/evaluate/{SETS[2]}/bicubic-x2.json"]["bicubic"]
    assert bicubic == {"psnr_y": MOST_DB, "psnr_rgb": MOST_DB, "ssim_y": 1.0}
    for path in tmp_path.glob("results/evaluate/**/*.csv"):
        assert not re.search("nan|inf", path.read_text())
