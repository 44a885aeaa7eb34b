"""dvc.yaml: every stage names exactly the code that it imports."""

import subprocess
import sys
from functools import cache

import pytest
import yaml

from pipeline.runs import MODELS
from tests.conftest import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

# They check, place or describe things; no result depends on them. A network's facts change with its module, if ever.
NO_RESULT_DEPENDS_ON = {
    "pipeline/__init__.py",
    "pipeline/data/__init__.py",
    "pipeline/data/folders.py",
    "pipeline/errors.py",
    "pipeline/evaluation/__init__.py",
    "pipeline/files.py",
    "pipeline/networks.py",
    "pipeline/params.py",
    "pipeline/program.py",
    "pipeline/reading.py",
    "pipeline/records.py",
    "pipeline/runs.py",
    "stages/__init__.py",
    "stages/arguments.py",
    "stages/run.py",
}
IGNORED_IN_FOLDERS = {line for line in (ROOT / ".dvcignore").read_text().splitlines() if line.endswith(".py")}

LIST_IMPORTS = """
import importlib, sys
importlib.import_module(sys.argv[1])
for model in sys.argv[2:]:
    importlib.import_module(f"pipeline.models.{model}")
for name, module in sorted(sys.modules.items()):
    if name.split(".")[0] in ("pipeline", "stages"):
        print(module.__file__)
"""


def imported(stage):
    """The repository's files that a stage imports, with those of the networks that it builds."""
    module = stage["cmd"].split()[2]
    models = ["edsr"] if any("models/${item.model}.py" in dep for dep in stage["deps"]) else []
    models += MODELS if "pipeline/models" in stage["deps"] else []
    return _files_imported(module, *models)


@cache
def _files_imported(*modules):
    done = subprocess.run(
        [sys.executable, "-c", LIST_IMPORTS, *modules], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return frozenset(path.removeprefix(f"{ROOT}/") for path in done.stdout.split())


def declared(stage):
    """The Python files of each dependency: one, or those of a folder."""
    found = {}
    for dep in stage["deps"]:
        path = dep.replace("${item.model}", "edsr")
        if path.endswith(".py"):
            found[dep] = {path}
        elif path.startswith("pipeline/") and (ROOT / path).is_dir():
            files = {str(file.relative_to(ROOT)) for file in (ROOT / path).rglob("*.py")}
            found[dep] = files - IGNORED_IN_FOLDERS
    return found


@pytest.mark.parametrize("name", [name for name in STAGES if name != "check"])
def test_a_stage_depends_on_the_code_it_imports_and_on_no_other(name):
    # The registry is imported to check params, and counts where it says what is fetched.
    exempt = (NO_RESULT_DEPENDS_ON | {"pipeline/data/registry.py"}) - set(STAGES[name]["deps"])
    code, dependencies = imported(STAGES[name]) - exempt, declared(STAGES[name])
    assert code - set().union(*dependencies.values()) == set()
    assert [dep for dep, files in dependencies.items() if not files & code] == []


def test_folders_hold_nothing_that_no_result_depends_on():
    folders = {dep for stage in STAGES.values() for dep, files in declared(stage).items() if files != {dep}}
    assert {"pipeline/engine", "pipeline/training", "pipeline/benchmark"} <= folders
    for name, stage in STAGES.items():
        code = imported(stage) if name != "check" else set()
        for dep in folders & set(stage["deps"]):
            folders -= {dep} if declared(stage)[dep] <= code else set()
    # What is left is a folder of which no stage imports all: the engine's calibration belongs to another stage.
    assert folders <= {"pipeline/engine"}
    assert (ROOT / "pipeline/engine/calibration.py").exists()


@pytest.mark.parametrize("name", STAGES)
def test_declared_files_exist(name):
    for dep in STAGES[name]["deps"]:
        if dep.startswith(("pipeline/", "stages/", "reports/")) and "$" not in dep:
            assert (ROOT / dep).exists(), dep
