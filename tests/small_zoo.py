"""A folder in which the commands of the zoo run, with a queue of tiny networks."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml

from pipeline.data.download import fetch
from pipeline.data.preparation import prepare
from pipeline.data.registry import dataset
from pipeline.profiles import compose
from pipeline.program import run_program
from pipeline.runs import SCALES
from tests.conftest import ROOT

QUEUE = """
- {model: edsr, scales: [2], weights: float}
- {model: edsr, scales: [2], weights: binary}
- {model: edsr, scales: [2], weights: float, variant: seed5, length: 0.5, seed: 5}
- {model: edsr, scales: [2], weights: binary, variant: warm, length: 0.5, start: seed5, distillation: 0.5}
- {model: vdsr, scales: [2, 4], weights: float}
- {model: vdsr, scales: [2, 4], weights: binary}
"""
NAMES = [
    "edsr-x2-float", "edsr-x2-binary", "edsr-x2-float-seed5", "edsr-x2-binary-warm",
    "vdsr-x2-float", "vdsr-x4-float", "vdsr-x2-binary", "vdsr-x4-binary",
]  # fmt: skip
TRAININGS = [*NAMES[:4], "vdsr-x24-float", "vdsr-x24-binary"]
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "SR_MIRROR"} | {"PYTHONPATH": str(ROOT)}


class Place:
    """A folder with params, a queue and prepared embedded sets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def prepared(cls, folder: Path) -> Place:
        """Make one."""
        place = cls(folder)
        compose("quick", folder / "params.yaml", ROOT / "conf")
        (folder / "queue.yaml").write_text(QUEUE)
        place.change(_shrink)
        for name in ("embedded-train", "embedded-valid", "embedded-test"):
            fetch(dataset(name), folder / "data/raw" / name)
            prepare(folder / "data/raw" / name, folder / "data/prepared" / name, SCALES)
        return place

    def copy(self, folder: Path) -> Place:
        """Copy all of it."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Place(folder)

    def change(self, edit) -> None:
        """Edit the params in place."""
        path = self.folder / "params.yaml"
        params = yaml.safe_load(path.read_text())
        edit(params)
        path.write_text(yaml.safe_dump(params))

    def start(self, command: str, *arguments: str) -> subprocess.Popen:
        """Start a command of the zoo."""
        return subprocess.Popen(
            [sys.executable, "-m", f"pipeline.zoo.{command}", *arguments],
            cwd=self.folder,
            env=ENVIRONMENT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, command: str, *arguments: str, exit_code: int = 0) -> str:
        """Run a command of the zoo in this process, which has imported what takes seconds; return what it prints."""
        main = import_module(f"pipeline.zoo.{command}").main
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # as in a process of its own
        before, output, code = Path.cwd(), io.StringIO(), 0
        os.chdir(self.folder)
        try:
            with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(output):
                patch.delenv("SR_MIRROR", raising=False)
                patch.setattr(sys, "argv", [command, *arguments])
                run_program(main)
        except SystemExit as end:
            code = end.code
        finally:
            os.chdir(before)
        assert code == exit_code, output.getvalue()
        return output.getvalue()


def _shrink(params: dict) -> None:
    params["network"]["edsr"] |= {"blocks": 1, "channels": 8}
    params["network"]["vdsr"] |= {"layers": 3, "channels": 8}
    params["export"]["calibration_images"] = 2
    for model in ("edsr", "vdsr"):
        params["train"][model] |= {"iterations": 12, "validate_every": 6, "checkpoint_every": 2}
