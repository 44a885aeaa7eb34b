"""The zoo as it is committed."""

import csv
import shutil
import subprocess

import pytest
import yaml

from pipeline.data.preparation import prepare
from pipeline.data.prepared import PreparedSet
from pipeline.engine.modes import MODES, modes_here
from pipeline.evaluation.backends import upscalers
from pipeline.evaluation.protocol import score
from pipeline.params import load_params
from pipeline.profiles import compose
from pipeline.records import INT8
from pipeline.runs import SCALES
from pipeline.zoo.catalogue import pairs, read_index, read_published
from pipeline.zoo.gaps import gap_rows
from pipeline.zoo.publish import TEST_SETS
from pipeline.zoo.scores import published_backends
from pipeline.zoo.verify import TOLERANCES
from tests.conftest import ROOT, SHARED

ZOO = ROOT / "zoo"
MODELS = read_index(ZOO)
LOSSES = {"engine_float32": 0.001, "engine_bfloat16": 0.005}  # at most, dB of PSNR-Y; the largest published is 0.002


def test_every_network_that_started_from_another_has_it_beside_it():
    files = {model.name: model.sha256 for model in MODELS}
    assert all(files[model.start["name"]] == model.start["sha256"] for model in MODELS if model.start is not None)


def test_pairs_are_of_one_protocol_and_one_commit_each():
    assert pairs(MODELS)
    for real, binary in pairs(MODELS):
        assert binary.profile == "cpu"
        if not real.imported:
            assert real.training["environment"]["commit"] == binary.training["environment"]["commit"]
            assert not real.training["environment"]["dirty"] and not binary.training["environment"]["dirty"]


def test_gaps_are_those_of_the_scores_of_every_image():
    with (ZOO / "results.csv").open() as file, (ZOO / "gaps.csv").open() as gaps:
        assert [
            {key: "" if value is None else str(value) for key, value in row.items()}
            for row in gap_rows(MODELS, list(csv.DictReader(file)))
        ] == list(csv.DictReader(gaps))


def test_files_are_those_of_the_index_and_small():
    assert sorted(path.name for path in ZOO.glob("*.safetensors")) == sorted(model.file for model in MODELS)
    for model in MODELS:
        assert model.path(ZOO).stat().st_size == model.bytes
    assert sum(path.stat().st_size for path in ZOO.rglob("*") if path.is_file()) <= 64 * 2**20


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_network_has_its_scores_card_and_curve(model):
    scores, bicubic = (read_published(ZOO)[name] for name in (model.name, f"bicubic-x{model.scale}"))
    assert scores.sha256 == model.sha256 and set(scores.sets) == set(TEST_SETS)
    for name, backends in scores.sets.items():
        assert list(backends) == published_backends(model, name)
        torch, exact = backends["torch"], backends.get("engine_float32", backends["torch"])
        for mode in LOSSES.keys() & backends.keys():
            assert abs(backends[mode].psnr_y - torch.psnr_y) < LOSSES[mode], (mode, name)
        assert torch.psnr_y > bicubic.sets[name]["bicubic"].psnr_y
        assert all(abs(getattr(exact, key) - getattr(torch, key)) <= far for key, far in TOLERANCES.items())
    assert model.training["float16_loss_db"] < 0.005
    card = (ZOO / f"{model.name}.md").read_text()
    assert model.iterations is None or f"| iterations | {model.iterations:,} |" in card
    assert model.imported or (ZOO / "history" / f"{model.name}.csv").exists()


def test_the_params_beside_it_are_those_of_the_profile(tmp_path):
    compose("cpu", tmp_path / "params.yaml", ROOT / "conf")
    assert (ZOO / "cpu.yaml").read_text() == (tmp_path / "params.yaml").read_text()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two of Set5's images, prepared at every scale; `make verify` scores whole sets."""
    if not (SHARED / "mirror/Set5").exists():
        pytest.skip("no image mirror beside the repository")
    folder = tmp_path_factory.mktemp("Set5")
    (folder / "raw").mkdir()
    for number in (3, 5):  # the smallest
        shutil.copy(SHARED / f"mirror/Set5/img_{number:03}_SRF_2_HR.png", folder / "raw")
    prepare(folder / "raw", folder / "prepared", SCALES)
    return PreparedSet.open(folder / "prepared")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_network_scores_as_published(images, model):
    with (ZOO / "results.csv").open() as file:
        published = {
            (row["backend"], row["image"]): row
            for row in csv.DictReader(file)
            if (row["method"], row["set"]) == (model.name, "Set5")
        }
    backends = upscalers(model.path(ZOO))
    lacking = MODES.keys() - set(modes_here()) | {INT8}  # OpenVINO rounds otherwise on other processors
    assert {backend for backend, _ in published} <= backends.keys() | lacking
    for (backend, image), row in published.items():
        if image in images.names and backend not in lacking:
            index = images.names.index(image)
            sr = backends[backend](images.lr(index, model.scale))
            measured = score(image, sr, images.hr(index, model.scale), model.scale)
            for key, tolerance in TOLERANCES.items():
                assert abs(getattr(measured, key) - float(row[key])) <= tolerance, (backend, image, key)


def test_the_protocol_is_that_of_the_commit_which_froze_it():
    params = load_params(ZOO / "cpu.yaml")

    def frozen(path):
        done = subprocess.run(
            ["git", "show", f"{params.report.protocol}:{path}"], cwd=ROOT, capture_output=True, text=True
        )
        if done.returncode != 0:
            pytest.skip("the history does not reach the commit that froze the protocol")
        return done.stdout

    assert yaml.safe_load(frozen("conf/profile/cpu.yaml")) == yaml.safe_load(
        (ROOT / "conf/profile/cpu.yaml").read_text()
    )
    limits = yaml.safe_load(frozen("conf/config.yaml"))["report"]["claims"]["accuracy_gap_db"]
    assert limits == params.report.claims.accuracy_gap_db.model_dump()
