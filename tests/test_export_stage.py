"""What the export of a trained network refuses, each in one line."""

import json

import pytest
import yaml
from safetensors.torch import save_file

from pipeline.models import build
from pipeline.profiles import compose
from pipeline.runs import Run
from tests.conftest import ROOT
from tests.small import run_here, write_sets

RUN = Run("edsr", 2, "binary")
BINARIZE = {"scale_rule": "learnable", "scope": "blocks"}


@pytest.fixture
def place(tmp_path):
    """A folder with a trained network of one block, ready to be exported."""
    compose("quick", tmp_path / "params.yaml", ROOT / "conf")
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    params["network"]["edsr"] |= {"blocks": 1, "channels": 8}
    params["export"] |= {"calibration_images": 1, "calibration_crop": 8}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    write_sets(tmp_path, "embedded-train", "embedded-valid", height=48, width=40)
    for file in (RUN.weights_file, RUN.training_record):
        (tmp_path / file).parent.mkdir(parents=True)
    save_file(build("edsr", 2, "binary", blocks=1, channels=8, **BINARIZE).state_dict(), tmp_path / RUN.weights_file)
    (tmp_path / RUN.training_record).write_text(json.dumps({"iterations": 1}))
    return tmp_path


def missing_weights(place):
    (place / RUN.weights_file).unlink()
    return f"{RUN.weights_file}: no such file; train edsr-x2-binary first"


def cut_weights(place):
    path = place / RUN.weights_file
    path.write_bytes(path.read_bytes()[:1000])
    return f"{RUN.weights_file}: damaged ("


def other_sizes(place):
    params = (place / "params.yaml").read_text()
    (place / "params.yaml").write_text(params.replace("    channels: 8\n", "    channels: 9\n"))
    return f"{RUN.weights_file}: is no binary edsr of the sizes in params.yaml; train edsr-x2-binary again, or"


def missing_record(place):
    (place / RUN.training_record).unlink()
    return f"{RUN.training_record}: missing; train edsr-x2-binary again"


def cut_record(place):
    (place / RUN.training_record).write_text('{"iterations": ')
    return f"{RUN.training_record}: whole file: "


@pytest.mark.parametrize("damage", [missing_weights, cut_weights, other_sizes, missing_record, cut_record])
def test_what_cannot_be_exported_is_named_in_one_line_with_the_remedy(place, damage):
    said = damage(place)
    code, errors = run_here(place, "stages.export", "--model", "edsr", "--scale", "2", "--weights", "binary")
    assert code == 2 and len(errors) == 1 and errors[0].startswith(f"error: {said}"), errors
    assert "train edsr-x2-binary" in errors[0] and not (place / RUN.packed).exists()


def test_a_trained_network_is_exported(place):
    assert run_here(place, "stages.export", "--model", "edsr", "--scale", "2", "--weights", "binary") == (0, [])
    assert (place / RUN.packed).exists()
