"""The zoo as it is committed."""

import os
import shutil
import subprocess
import sys

import pytest

from pipeline.profiles import compose
from pipeline.zoo.catalogue import pairs, read_index, read_published
from pipeline.zoo.publish import TEST_SETS
from pipeline.zoo.verify import TOLERANCES
from tests.conftest import ROOT, SHARED

ZOO = ROOT / "zoo"
MODELS = read_index(ZOO)


def test_every_network_started_from_the_float_network_that_lies_beside_it():
    files = {model.name: model.sha256 for model in MODELS}
    starts = [model.start for model in MODELS if model.start is not None]
    assert starts and all(files[start["name"]] == start["sha256"] for start in starts)
    assert [binary.name for _, binary in pairs(MODELS)] == [
        model.name for model in MODELS if model.weights == "binary" and not model.variant
    ]


def test_files_are_those_of_the_index_and_small():
    assert sorted(path.name for path in ZOO.glob("*.safetensors")) == sorted(model.file for model in MODELS)
    for model in MODELS:
        assert model.path(ZOO).stat().st_size == model.bytes
    assert sum(path.stat().st_size for path in ZOO.rglob("*") if path.is_file()) <= 64 * 2**20


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_network_has_its_scores_card_and_curve(model):
    held = read_published(ZOO)[model.name]
    assert held["sha256"] == model.sha256 and set(held["sets"]) == set(TEST_SETS)
    bicubic = read_published(ZOO)[f"bicubic-x{model.scale}"]["sets"]
    for name, backends in held["sets"].items():
        assert backends["torch"]["psnr_y"] > bicubic[name]["bicubic"]["psnr_y"]
        exact = backends["engine_float32"]
        assert all(abs(exact[key] - backends["torch"][key]) <= far for key, far in TOLERANCES.items())
    assert model.training["float16_loss_db"] < 0.005
    assert f"{model.training['iterations']:,} iterations" in (ZOO / f"{model.name}.md").read_text() or not model.short
    assert (ZOO / "history" / f"{model.name}.csv").exists()


@pytest.mark.parametrize("profile", sorted({model.training["plan"]["profile"] for model in MODELS}))
def test_the_params_beside_it_are_those_of_the_profile(profile, tmp_path):
    compose(profile, tmp_path / "params.yaml", ROOT / "conf")
    assert (ZOO / f"{profile}.yaml").read_text() == (tmp_path / "params.yaml").read_text()


@pytest.mark.skipif(not (SHARED / "mirror/Set5").exists(), reason="no image mirror beside the repository")
def test_every_network_scores_on_set5_as_published(tmp_path):
    shutil.copytree(ZOO, tmp_path / "zoo", ignore=shutil.ignore_patterns("unfinished"))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.zoo.verify", "--sets", "Set5"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SR_MIRROR": str(SHARED / "mirror")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "DIFFERENT" not in done.stdout and done.stdout.count(" equal\n") > len(MODELS)
