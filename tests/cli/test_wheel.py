"""What is installed elsewhere has the published networks."""

import json
import shutil
import subprocess
import sys
import zipfile

from pipeline.cli.networks import zoo_folder
from tests.conftest import ROOT

BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def test_the_zoo_of_a_checkout():
    assert zoo_folder() == ROOT / "zoo"


def test_a_wheel_holds_the_zoo_beside_the_package(tmp_path):
    source = tmp_path / "source"
    unwanted = shutil.ignore_patterns("unfinished", "__pycache__")
    for name in ("pipeline", "stages", "zoo"):
        shutil.copytree(ROOT / name, source / name, ignore=unwanted)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    subprocess.run([sys.executable, "-c", BUILD, str(tmp_path)], cwd=source, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    index = json.loads((ROOT / "zoo/index.json").read_text())
    assert {f"zoo/{model['file']}" for model in index["models"]} <= names
    assert {"zoo/index.json", "zoo/results.json", "pipeline/cli/app.py", "pipeline/__main__.py"} <= names
    assert not any(name.startswith(("zoo/history", "tests")) for name in names)
