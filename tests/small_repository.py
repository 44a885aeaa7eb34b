"""A small copy of the repository in which the pipeline runs by `dvc repro`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

import yaml
from dvc.repo import Repo

from tests.conftest import ROOT

ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if key != "SR_MIRROR"},
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "CXX": "missing",  # torch.compile takes half a minute; tests/benchmark/test_measure.py runs it
}


CUT_OFF = ("unshare", "--net", "--map-root-user")  # runs a command where there is no network
INTERFACES = ".git/interfaces"  # the network interfaces that the run of the shared repository had


def network_can_be_cut() -> bool:
    """Whether the system lets a process have a network of its own, without any interface but loopback."""
    return subprocess.run([*CUT_OFF, "true"], capture_output=True, check=False).returncode == 0


def copy_code(folder: Path, *names: str) -> None:
    """Copy folders of the repository. The kernels keep their compilation cache here, so that each compiles once."""
    kernels = ROOT / "pipeline/engine/kernels"

    def cached(place: str, _: list[str]) -> list[str]:
        return ["__pycache__"] if Path(place).is_relative_to(kernels) else []

    for name in names:
        shutil.copytree(ROOT / name, folder / name, ignore=cached)
    for package in {path.parent for path in kernels.rglob("*.py")}:
        (package / "__pycache__").mkdir(exist_ok=True)
        (folder / package.relative_to(ROOT) / "__pycache__").symlink_to(package / "__pycache__")


class Repository:
    """A copy of the repository with its own params."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def small(cls, folder: Path, zoo: Path) -> Repository:
        """Make one with tiny networks and a zoo, nothing run."""
        made = cls(folder)
        shutil.copytree(zoo, folder / "zoo")
        shutil.copytree(ROOT / "zoo/search", folder / "zoo/search", dirs_exist_ok=True)
        for name in (".dvc/config", ".dvcignore", ".gitignore", "dvc.yaml", "params.yaml"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        copy_code(folder, "conf", "pipeline", "ratios", "stages", "reports/templates")
        made.change(made._shrink)
        exclude = ["config", "core.excludesFile", str(folder / ".dvcignore")]  # caches that are links too
        for command in (["init", "-q"], exclude, ["add", "-A"], ["commit", "-qm", "start"]):
            subprocess.run(["git", *command], cwd=folder, env=ENVIRONMENT, check=True)
        return made

    def copy(self, folder: Path) -> Repository:
        """Copy all of it, results and caches too."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Repository(folder)

    @staticmethod
    def _shrink(params: dict) -> None:
        params["matrix"] = {"models": ["edsr"], "scales": [2]}
        for network in (params["network"]["edsr"], params["benchmark"]["network"]["edsr"]):
            network |= {"blocks": 1, "channels": 8}
        params["benchmark"]["network"]["srresnet"]["blocks"] = 1
        params["benchmark"]["network"]["vdsr"]["layers"] = 4
        params["train"]["edsr"] |= {"iterations": 30, "validate_every": 15, "checkpoint_every": 10, "max_minutes": None}
        params["benchmark"] |= {"lr_height": 16, "lr_width": 16, "sizes": [16, 24], "repeats": 3, "seconds": 0.1}

    def change(self, edit) -> None:
        """Edit the params in place."""
        path = self.folder / "params.yaml"
        params = yaml.safe_load(path.read_text())
        edit(params)
        path.write_text(yaml.safe_dump(params))

    def start(self, *arguments: str, prefix: Sequence[str] = (), **options) -> subprocess.Popen:
        return subprocess.Popen(
            [*prefix, "dvc", *arguments],
            cwd=self.folder,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )

    def dvc(self, *arguments: str, exit_code: int = 0, prefix: Sequence[str] = ()) -> str:
        """Run dvc and give what it prints; `prefix` is the beginning of its command line."""
        process = self.start(*arguments, prefix=prefix)
        output, _ = process.communicate()
        assert process.returncode == exit_code, output
        return output

    def would_run(self) -> set[str]:
        """The stages that `dvc repro` would begin with, as `dvc status` gives them."""
        with chdir(self.folder), Repo() as repo:
            return set(repo.status())
