import json

import pytest

from pipeline.errors import InputError
from pipeline.reporting.results import read_results
from pipeline.runs import Run
from tests.reporting.synthetic_run import make_params, write_run

PARAMS = make_params(["srresnet", "vdsr"], [2], ["embedded-test"])


def read(root):
    return read_results(root, PARAMS)


def test_reads_every_file_of_the_matrix(tmp_path):
    write_run(tmp_path, PARAMS, gap=0.2, speedup=3.0, images=False)
    results = read(tmp_path)
    assert {run.name for run in results.trainings} == {
        f"{m}-x2-{w}" for m in ("srresnet", "vdsr") for w in ("float", "binary")
    }
    binary = results.evaluations["embedded-test", Run("vdsr", 2, "binary")]
    assert set(binary.means) == {"torch", "engine_float32", "engine_int8"}
    assert list(binary.scores["torch"]) == ["cat", "cup", "portrait"]
    assert results.benchmarks["vdsr", 2].speed("engine_int8") == pytest.approx(3.0)
    assert len(results.histories[Run("srresnet", 2, "float")]) == 16


def test_results_of_runs_outside_the_matrix_do_not_matter(tmp_path):
    write_run(tmp_path, PARAMS, images=False)
    (tmp_path / "results/train/edsr-x4-float.json").write_text("{")
    read(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        "results/train/vdsr-x2-binary.json",
        "history/srresnet-x2-float.csv",
        "results/export/srresnet-x2-binary.json",
        "results/evaluate/embedded-test/bicubic-x2.json",
        "results/evaluate/embedded-test/vdsr-x2-float.csv",
        "results/benchmark/vdsr-x2.csv",
        "results/benchmark/vdsr-x2.json",
        "results/benchmark/layers.json",
        "data/prepared/embedded-valid/index.json",
    ],
)
def test_a_missing_file_is_named_with_the_remedy(tmp_path, path):
    write_run(tmp_path, PARAMS, images=False)
    (tmp_path / path).unlink()
    with pytest.raises(InputError, match=rf"{path}: missing; run `dvc repro`"):
        read(tmp_path)


def test_a_malformed_field_is_named(tmp_path):
    write_run(tmp_path, PARAMS, images=False)
    path = tmp_path / "results/export/vdsr-x2-float.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"bytes": "many"}))
    with pytest.raises(InputError, match=r"vdsr-x2-float.json: bytes: .*; delete it and run `dvc repro`"):
        read(tmp_path)


def test_a_torn_file_is_named(tmp_path):
    write_run(tmp_path, PARAMS, images=False)
    (tmp_path / "results/export/vdsr-x2-float.json").write_text('{"bytes": 12')
    with pytest.raises(InputError, match=r"vdsr-x2-float.json: "):
        read(tmp_path)


def test_scores_without_pytorch_are_refused(tmp_path):
    write_run(tmp_path, PARAMS, images=False)
    (tmp_path / "results/evaluate/embedded-test/vdsr-x2-float.json").write_text("{}")
    with pytest.raises(InputError, match=r"vdsr-x2-float.json: torch: missing"):
        read(tmp_path)


def test_a_table_that_is_no_table_is_named(tmp_path):
    write_run(tmp_path, PARAMS, images=False)
    (tmp_path / "results/evaluate/embedded-test/vdsr-x2-float.csv").write_text('a,b\n"' + "x" * 200_000)
    with pytest.raises(InputError, match=r"vdsr-x2-float.csv: line .*; delete it and run `dvc repro`"):
        read(tmp_path)


def test_networks_of_a_scale_that_is_still_being_scored_are_left_out(tmp_path):
    write_run(tmp_path, PARAMS, images=False)
    assert read(tmp_path).zoo.models
    path = tmp_path / "zoo/results.json"
    record = json.loads(path.read_text())
    for scale in (2, 3, 4):
        record["methods"].pop(f"bicubic-x{scale}", None)
    path.write_text(json.dumps(record))
    assert read(tmp_path).zoo.models == []


def test_grey_images_have_no_rgb(tmp_path):
    write_run(tmp_path, PARAMS, images=False)
    folder = tmp_path / "results/evaluate/embedded-test"
    (folder / "bicubic-x2.csv").write_text("backend,image,psnr_y,psnr_rgb,ssim_y\nbicubic,coins,28.0,,0.8\n")
    (folder / "bicubic-x2.json").write_text('{"bicubic": {"psnr_y": 28.0, "psnr_rgb": null, "ssim_y": 0.8}}')
    bicubic = read(tmp_path).bicubic["embedded-test", 2]
    assert bicubic.means["bicubic"].psnr_rgb is None
    assert bicubic.scores["bicubic"]["coins"].psnr_rgb is None
