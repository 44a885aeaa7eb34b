"""The whole pipeline by `dvc repro`, on the embedded photographs, with tiny networks."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if key != "SR_MIRROR"},
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


class Copy:
    """A copy of the repository with its own params."""

    def __init__(self, folder: Path, zoo: Path) -> None:
        self.folder = folder
        shutil.copytree(zoo, folder / "zoo")
        for name in (".dvc/config", ".dvcignore", ".gitignore", "dvc.yaml", "params.yaml"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        for name in ("conf", "pipeline", "stages", "reports/templates"):  # with the kernels' compilation cache
            shutil.copytree(ROOT / name, folder / name)
        self.change(self._shrink)
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
            subprocess.run(["git", *command], cwd=folder, env=ENVIRONMENT, check=True)

    @staticmethod
    def _shrink(params: dict) -> None:
        params["matrix"] = {"models": ["edsr"], "scales": [2]}
        for network in (params["network"]["edsr"], params["benchmark"]["network"]["edsr"]):
            network |= {"blocks": 1, "channels": 8}
        for weights in ("float", "binary"):
            params["train"]["edsr"][weights] |= {"iterations": 30, "validate_every": 15}
            params["train"]["edsr"][weights] |= {"checkpoint_every": 10, "max_minutes": None}
        params["benchmark"] |= {"lr_height": 16, "lr_width": 16, "sizes": [16, 24], "repeats": 3, "seconds": 0.1}

    def change(self, edit) -> None:
        """Edit the params in place."""
        path = self.folder / "params.yaml"
        params = yaml.safe_load(path.read_text())
        edit(params)
        path.write_text(yaml.safe_dump(params))

    def start(self, *arguments: str, **options) -> subprocess.Popen:
        return subprocess.Popen(
            ["dvc", *arguments],
            cwd=self.folder,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )

    def dvc(self, *arguments: str, exit_code: int = 0) -> str:
        """Run dvc and give what it prints."""
        process = self.start(*arguments)
        output, _ = process.communicate()
        assert process.returncode == exit_code, output
        return output

    def would_run(self) -> set[str]:
        """The stages that `dvc repro` would begin with."""
        return {line[:-1] for line in self.dvc("status").splitlines() if line.endswith(":") and not line[0].isspace()}


@pytest.fixture(scope="module")
def done(tmp_path_factory, published):
    """A copy in which the pipeline has run, with a small zoo."""
    copy = Copy(tmp_path_factory.mktemp("repository"), published.folder / "zoo")
    copy.dvc("repro")
    return copy


def test_it_ends_in_a_report_and_a_second_run_does_nothing(done):
    page = (done.folder / "reports/index.html").read_text()
    assert "EDSR" in page and "edsr-x2-binary-scratch" in page
    assert "Running stage" not in done.dvc("repro")
    assert done.would_run() == set()


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("reports/templates/style.css", {"report"}),
        ("stages/export.py", {"export@edsr-2-float", "export@edsr-2-binary"}),
        ("pipeline/models/vdsr.py", {"footprint", "zoo@embedded-test"}),
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
        (lambda params: params["train"]["edsr"]["float"].update(learning_rate=0.1), {"train_float@edsr-2"}),
        (lambda params: params["train"]["edsr"]["binary"].update(learning_rate=0.1), {"train_binary@edsr-2"}),
        (lambda params: params["train"]["vdsr"]["float"].update(learning_rate=0.1), set()),
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


def test_a_kill_in_the_middle_of_training_and_a_rerun_end_as_one_run(done):
    def longer(params):
        params["train"]["edsr"]["float"] |= {"iterations": 300, "checkpoint_every": 20}

    weights, checkpoint = "models/edsr-x2-float.safetensors", done.folder / "checkpoints/edsr-x2-float/state.json"
    done.change(longer)
    process = done.start("repro", "train_float")
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert checkpoint.exists() and not (done.folder / weights).exists()
    assert "going on from checkpoints/edsr-x2-float at" in done.dvc("repro", "train_float")
    resumed = (done.folder / weights).read_bytes()
    assert not checkpoint.exists()
    done.dvc("repro", "--force", "--single-item", "train_float@edsr-2")
    assert (done.folder / weights).read_bytes() == resumed
