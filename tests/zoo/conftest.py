"""A small zoo, trained and published by the commands that train and publish the real one."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.profiles import compose
from tests.conftest import ROOT

QUEUE = """
- {model: edsr, scale: 2, weights: float}
- {model: edsr, scale: 2, weights: binary}
- {model: edsr, scale: 2, weights: binary, variant: scratch, start: scratch, scale_rule: analytic}
- {model: vdsr, scale: 4, weights: float, seed: 5, variant: seed5}
- {model: vdsr, scale: 4, weights: binary, seed: 5, variant: seed5, twin: seed5}
"""


class Place:
    """A folder with params and a queue, in which commands run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        compose("quick", folder / "params.yaml", ROOT / "conf")
        (folder / "queue.yaml").write_text(QUEUE)
        self.change(self._shrink)

    @staticmethod
    def _shrink(params: dict) -> None:
        params["network"]["edsr"] |= {"blocks": 1, "channels": 8}
        params["network"]["vdsr"] |= {"layers": 3, "channels": 8}
        params["export"]["calibration_images"] = 2
        for model in ("edsr", "vdsr"):
            for weights in ("float", "binary"):
                params["train"][model][weights] |= {"iterations": 12, "validate_every": 6, "checkpoint_every": 2}
                params["train"][model][weights] |= {"max_minutes": None}

    def change(self, edit) -> None:
        path = self.folder / "params.yaml"
        params = yaml.safe_load(path.read_text())
        edit(params)
        path.write_text(yaml.safe_dump(params))

    def command(self, module: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", f"pipeline.zoo.{module}", *arguments]

    def run(self, module: str, *arguments: str, exit_code: int = 0) -> str:
        """Run a command of the zoo and give what it prints."""
        done = subprocess.run(
            self.command(module, *arguments),
            cwd=self.folder,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(self.folder)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == exit_code, done.stdout
        assert "Traceback" not in done.stdout
        return done.stdout


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Place:
    """Where the small zoo's commands run; nothing is trained yet."""
    place = Place(tmp_path_factory.mktemp("zoo"))
    from pipeline.data.preparation import prepare
    from pipeline.runs import SCALES

    for name in ("embedded-train", "embedded-valid"):
        from pipeline.data.download import fetch
        from pipeline.data.registry import dataset

        fetch(dataset(name), place.folder / "data/raw" / name)
        prepare(place.folder / "data/raw" / name, place.folder / "data/prepared" / name, SCALES)
    return place
