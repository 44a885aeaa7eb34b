"""params.yaml: the committed file is the quick profile, and wrong fields are named."""

import copy
import math
import os
import shutil
import subprocess
import sys

import pytest
import yaml
from dvc.utils.hydra import compose_and_dump

from pipeline import profiles
from pipeline.errors import InputError
from pipeline.files import TEMPORARY
from pipeline.networks import NETWORKS
from pipeline.params import load_params
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def quick():
    return yaml.safe_load((ROOT / "params.yaml").read_text())


def compose(path, *overrides):
    compose_and_dump(path, str(ROOT / "conf"), None, "config", "", list(overrides))
    return path


@pytest.mark.parametrize("profile", ["quick", "cpu", "bsd", "paper"])
def test_every_profile_composes_to_valid_params(tmp_path, profile):
    assert load_params(compose(tmp_path / "params.yaml", f"profile={profile}")).profile == profile


def test_the_papers_train_as_long_as_the_table_says(tmp_path):
    params = load_params(compose(tmp_path / "params.yaml", "profile=paper"))
    theirs = yaml.safe_load((ROOT / "conf/profile/paper.yaml").read_text())["train"]
    assert theirs
    for model in theirs:
        assert params.training(model).iterations == NETWORKS[model].iterations


def test_the_committed_params_are_the_quick_profile(tmp_path, quick):
    assert yaml.safe_load(compose(tmp_path / "params.yaml").read_text()) == quick


def test_a_wrong_value_of_a_profile_is_named_with_its_file(tmp_path):
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    profile = tmp_path / "conf/profile/bsd.yaml"
    profile.write_text(profile.read_text().replace("batch: 48", "batch: 0"))
    with pytest.raises(InputError, match=r"train\.vdsr\.batch: Input should be greater") as error:
        profiles.compose("bsd", tmp_path / "params.yaml", tmp_path / "conf")
    assert str(error.value).startswith(f"{profile}: ") and os.listdir(tmp_path) == ["conf"]


def test_a_profile_is_composed_in_a_file_that_is_swept(tmp_path, monkeypatch):
    def killed(path, source):
        assert TEMPORARY.fullmatch(path.name)
        raise KeyboardInterrupt

    monkeypatch.setattr(profiles, "load_params", killed)
    with pytest.raises(KeyboardInterrupt):
        profiles.compose("quick", tmp_path / "params.yaml", ROOT / "conf")


def test_an_override_reaches_its_field(tmp_path):
    params = load_params(compose(tmp_path / "params.yaml", "train.edsr.learning_rate=3e-4"))
    assert params.training("edsr").learning_rate == 3e-4
    assert params.training("vdsr").learning_rate != 3e-4


@pytest.mark.parametrize("profile", ["quick", "cpu", "bsd", "paper"])
def test_settings_are_not_chosen_by_the_images_that_are_reported(tmp_path, profile):
    data = load_params(compose(tmp_path / "params.yaml", f"profile={profile}")).data
    assert data.validation not in (data.train, *data.test)


def changed(quick, path, value):
    values = copy.deepcopy(quick)
    *parents, last = path.split(".")
    section = values
    for parent in parents:
        section = section[parent]
    if value is ...:
        del section[last]
    else:
        section[last] = value
    return values


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (
            "train.edsr.learning_rat",
            1,
            "train.edsr.learning_rat: unknown field, did you mean learning_rate?",
        ),
        ("sead", 1, "sead: unknown field, did you mean seed?"),
        ("seed", ..., "seed: missing"),
        ("seed", "x", "seed: Input should be a valid integer"),
        ("matrix.models", ["edsr", "srgan"], "matrix.models.1:"),
        ("matrix.models", [], "matrix.models:"),
        ("matrix.scales", [2, 2], "matrix.scales: 2 occurs twice"),
        ("matrix.scales", [5], "matrix.scales.0:"),
        ("matrix.scales", [2.0], "matrix.scales.0: should be a whole number (found 2.0)"),
        ("data.sets", ["embedded-train", "embedded-valid", "embedded-test", "VDSR"], "data.sets: VDSR has no images"),
        ("data.validation_images", 2, "data.validation_images: 2 is more than embedded-valid has, 1"),
        ("data.test", ["embedded-test"] * 2, "data.test: embedded-test occurs twice"),
        ("data.test", ["embedded-test", "embedded-train"], "data.test: embedded-train is the training set; test on"),
        ("data.test", ["embedded-valid"], "data.test: embedded-valid is the validation set; test on other images"),
        ("data.mirror", "", "data.mirror:"),
        ("seed", 2**70, "seed: Input should be less than 4294967296"),
        ("seed", int("9" * 4000), "seed: "),
        ("profile", "../x", "profile:"),
        ("train.srresnet.patch", {"size": 3, "of": "hr"}, "patch.size: 3 is less than 2 LR pixels at x2"),
        ("train.srresnet.patch", {"size": 152, "of": "lr"}, "152 LR pixels at x2 are more than the smallest"),
        ("report.claims.accuracy_gap_db", {"replicated": 0.6, "partly": 0.25}, "accuracy_gap_db: replicated is more"),
        ("report.claims.speedup", {"replicated": 2.0, "partly": 5.0}, "speedup: replicated is less than partly"),
        ("report.claims.speedup", {"replicated": float("nan"), "partly": 2}, "speedup.replicated:"),
        ("report.protocol", "main", "report.protocol:"),
        ("data.sets", ["Set15"], "Set15"),
        ("data.train", "DIV2K-train", "train: DIV2K-train is not in data.sets"),
        ("train.vdsr.patch", {"size": 24, "of": "sr"}, "train.vdsr.patch.of:"),
        ("train.edsr.float", {"iterations": 3}, "train.edsr.float: unknown field"),  # both forms are trained alike
        ("train.edsr.distillation", 0.5, "train.edsr.distillation: unknown field"),
        ("train.edsr.optimizer", "lion", "train.edsr.optimizer: Input should be 'muon', 'adam' or 'sgd'"),
        ("train.edsr.momentum", 1.0, "train.edsr.momentum: Input should be less than 1"),
        ("train.edsr.latent_rate", 0, "train.edsr.latent_rate: Input should be greater than 0"),
        ("train.edsr.latent_rate", ..., "train.edsr.latent_rate: missing"),
        ("train.edsr.schedule.flat", 1.0, "train.edsr.schedule.flat: Input should be less than 1"),
        ("train.edsr.learning_rate", 0, "train.edsr.learning_rate: Input should be greater than 0"),
        ("benchmark.repeats", 1, "benchmark.repeats:"),
        ("benchmark.sizes", [128, 64], "benchmark.sizes: must ascend"),
    ],
)
def test_a_wrong_field_is_named_in_one_line(tmp_path, quick, path, value, said):
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(changed(quick, path, value)))
    with pytest.raises(InputError) as error:
        load_params(file)
    assert said in str(error.value) and str(file) in str(error.value) and "\n" not in str(error.value)


def fields(values, path=()):
    """Every section and field with its value, the whole file first."""
    yield path, values
    if isinstance(values, dict):
        for name, value in values.items():
            yield from fields(value, (*path, name))


NOTHING_AT_ALL = (True, b"x", {"a": 1}, [], [[]], {}, -1, -1.5, 10**400, 1e300, math.nan, math.inf)
WRONG = {  # by the type of the right value
    int: (*NOTHING_AT_ALL, None, "1", 1.0, 1.5, 10**30),
    float: (*NOTHING_AT_ALL, None, "1.0"),
    str: (*NOTHING_AT_ALL, 1, 1.0, "", "\x1b[31m", "a\nb"),
    list: (*NOTHING_AT_ALL, None, "x", 1, [None], [{}]),
    dict: (*NOTHING_AT_ALL, None, "x", 1),
    type(None): (*NOTHING_AT_ALL, ""),
}
QUICK = yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.mark.parametrize("path", [pytest.param(path, id=".".join(path) or "all") for path, _ in fields(QUICK)])
def test_every_field_refuses_what_it_is_not(monkeypatch, quick, path):
    """Of a wrong type, out of range, missing, unknown or twice: always one line that names the field."""

    def refused(values):
        monkeypatch.setattr("pipeline.params.read_yaml", lambda *_: values)
        with pytest.raises(InputError) as error:
            load_params(ROOT / "params.yaml")
        message = str(error.value)
        assert (path[-1] if path else "params.yaml") in message and "\n" not in message and len(message) < 1000

    right = dict(fields(quick))[path]
    for wrong in WRONG[type(right)]:
        if wrong is None and path[-1:] == ("max_minutes",):
            continue
        refused(changed(quick, ".".join(path), wrong) if path else wrong)
    if path:
        refused(changed(quick, ".".join(path), ...))
    if isinstance(right, dict):
        refused(changed(quick, ".".join((*path, "unknown")), 1) if path else quick | {"whole file": 1})
    if isinstance(right, list):
        refused(changed(quick, ".".join(path), [*right, right[0]]))


def test_files_that_are_no_params(tmp_path):
    file = tmp_path / "params.yaml"
    with pytest.raises(InputError, match="no such file"):
        load_params(file)
    file.mkdir()
    with pytest.raises(InputError, match=r"params\.yaml: cannot be read"):
        load_params(file)
    file.rmdir()
    nested, twice = "[" * 20_000, "seed: 1\nseed: 2"
    bomb = "a0: &a0 [x, x]\n" + "\n".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 40))
    many = "\n".join(f"field{i}: 1" for i in range(1000))
    digits, date = "seed: " + "9" * 5000, "seed: 2020-13-45"
    for text in (
        "a: [",
        "- 1",
        "",
        "\0",
        nested,
        twice,
        bomb,
        many,
        digits,
        "seed: 0x" + "f" * 9000,
        date,
        "- &a [*a]",
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=r"params\.yaml") as error:
            load_params(file)
        assert "\n" not in str(error.value) and len(str(error.value)) < 1000
    file.write_bytes(b"seed: \xff\xfe")
    with pytest.raises(InputError, match=r"params\.yaml"):
        load_params(file)


def test_from_the_command_line_it_is_one_line_and_exit_code_2(tmp_path, quick):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed(quick, "sead", 1)))
    command = [sys.executable, "-m", "pipeline.params"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: params.yaml: sead") and done.stderr.count("\n") == 1
