"""The whole pipeline by `dvc repro`, on the embedded photographs, with tiny networks."""

import os
import signal
import time

import numpy as np
import pytest

from tests.small_repository import INTERFACES, network_can_be_cut
from tests.torture.repositories import OUTPUTS, lose_and_repeat


@pytest.fixture(scope="module")
def done(repository, tmp_path_factory):
    """A copy of its own in which the pipeline has run, with a small zoo."""
    return repository.copy(tmp_path_factory.mktemp("done") / "repository")


def test_it_ends_in_a_report_and_a_second_run_does_nothing(done):
    page = (done.folder / "reports/index.html").read_text()
    assert "EDSR" in page and "edsr-x2-binary-warm" in page
    kept = done.folder / "results/images/embedded-test"
    shown = {"x2": ["edsr"], "zoo/x2": ["edsr", "vdsr"], "zoo/x4": ["vdsr"]}
    for folder, models in shown.items():
        names = {"hr", "bicubic"} | {f"{model}-{by}" for model in models for by in ("float", "binary", "int8")}
        for lost in ("largest", "smallest"):
            assert {path.stem for path in (kept / folder / lost).iterdir()} == names
    assert page.count('<article class="comparison"') == 2 * len(shown)
    assert "Running stage" not in done.dvc("repro")
    assert done.would_run() == set()


def test_it_ran_without_a_network(done):
    """Nothing but the downloads of `fetch` needs one, and the embedded photographs are no download."""
    if not network_can_be_cut():
        pytest.skip("the system does not let a process have a network of its own")
    lines = (done.folder / INTERFACES).read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in lines] == ["lo"]


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("reports/templates/style.css", {"report"}),
        ("stages/export.py", {"export@edsr-2-float", "export@edsr-2-binary"}),
        ("pipeline/models/vdsr.py", {"footprint", "pictures@embedded-test-2", "zoo@embedded-test"}),
        ("pipeline/evaluation/pictures.py", {"pictures@embedded-test-2", "zoo@embedded-test"}),
        ("zoo/index.json", {"zoo@embedded-test", "report"}),
        ("zoo/results.json", {"report"}),
        ("pipeline/data/registry.json", {f"fetch@embedded-{part}" for part in ("train", "valid", "test")}),
    ],
)
def test_changed_code_runs_only_what_uses_it(done, file, stages):
    path = done.folder / file
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    try:
        assert done.would_run() == stages
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(
    ("edit", "stages"),
    [
        (
            lambda params: params["train"]["edsr"].update(learning_rate=0.1),
            {"train@edsr-2-float", "train@edsr-2-binary"},  # both are trained alike
        ),
        (lambda params: params["train"]["vdsr"].update(learning_rate=0.1), set()),
        (lambda params: params["network"]["vdsr"].update(layers=5), set()),
        (
            lambda params: params["benchmark"].update(repeats=9),
            {"benchmark@edsr-2", "benchmark_layers", "zoo@embedded-test"},
        ),
        (lambda params: params["benchmark"].update(sizes=[16]), {"benchmark@edsr-2"}),
        (lambda params: params["report"]["claims"]["speedup"].update(partly=3.0), set()),
    ],
)
def test_a_changed_param_runs_only_what_uses_it(done, edit, stages):
    path = done.folder / "params.yaml"
    before = path.read_bytes()
    done.change(edit)
    try:
        assert done.would_run() == stages | {"check", "report"}  # the report prints all params
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(("of_cache", "how"), [(0, "from the cache"), (1, "of stages that ran again")])
def test_lost_outputs_are_made_again_or_come_from_the_cache(repository, tmp_path, of_cache, how):
    copy, cached = repository.copy(tmp_path / "repository"), [name for name in OUTPUTS if name != "data"]
    assert lose_and_repeat(copy, of_cache, 0.3, np.random.default_rng(0), cached) == f"the same outputs, {how}"


def test_params_diff_and_metrics_show_the_change_and_the_values(done):
    path = done.folder / "params.yaml"
    before = path.read_bytes()
    done.change(lambda params: params.update(seed=7))
    try:
        assert "seed" in done.dvc("params", "diff")
    finally:
        path.write_bytes(before)
    assert "engine_int8.psnr_y" in done.dvc("metrics", "show")
    assert "edsr-x2-float.csv" in (done.dvc("plots", "show", "--json"))


def test_a_wrong_field_stops_it_before_anything_runs(done):
    path = done.folder / "params.yaml"
    before = path.read_bytes()
    done.change(lambda params: params.update(sead=7))
    try:
        output = done.dvc("repro", exit_code=255)
        assert "error: params.yaml: sead: unknown field, did you mean seed?" in output
        assert "Traceback" not in output
    finally:
        path.write_bytes(before)


def test_a_kill_in_the_middle_of_training_and_a_rerun_end_as_one_run(repository, tmp_path):
    def longer(params):
        params["train"]["edsr"] |= {"iterations": 300, "checkpoint_every": 20}

    done = repository.copy(tmp_path / "repository")  # its params stay changed
    weights, checkpoint = "models/edsr-x2-float.safetensors", done.folder / "checkpoints/quick/edsr-x2-float/state.json"
    done.change(longer)
    process = done.start("repro", "train@edsr-2-float")
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert checkpoint.exists() and not (done.folder / weights).exists()
    assert "going on from checkpoints/quick/edsr-x2-float at" in done.dvc("repro", "train@edsr-2-float")
    resumed = (done.folder / weights).read_bytes()
    assert not checkpoint.exists()
    done.dvc("repro", "--force", "--single-item", "train@edsr-2-float")
    assert (done.folder / weights).read_bytes() == resumed
