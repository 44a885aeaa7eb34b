"""dvc.yaml: every stage names exactly the code that it imports."""

import json
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
    "pipeline/machine_code.py",
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

# For each line of modules, what importing them imports: each in a copy of a process that has loaded the libraries.
LIST_IMPORTS = """
import importlib, json, os, sys
import jinja2, numba, pandas, PIL.Image, pydantic, skimage, torch, typer
for line in sys.stdin:
    if (child := os.fork()) == 0:
        for name in line.split():
            importlib.import_module(name)
        ours = [m.__file__ for name, m in sys.modules.items() if name.split(".")[0] in ("pipeline", "stages")]
        print(json.dumps(ours), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(line)
"""


def imported(stage):
    """The repository's files that a stage imports, with those of the networks that it builds."""
    return _imported_by_stages()[_modules(stage)]


def _modules(stage):
    """The module of a stage, and those of its networks, in one line."""
    models = ["edsr"] if any("models/${item.model}.py" in dep for dep in stage["deps"]) else []
    models += MODELS if "pipeline/models" in stage["deps"] else []
    return " ".join([stage["cmd"].split()[2], *(f"pipeline.models.{model}" for model in models)])


@cache
def _imported_by_stages():
    lines = [_modules(stage) for stage in STAGES.values()]
    command = [sys.executable, "-c", LIST_IMPORTS]
    done = subprocess.run(command, input="\n".join(lines), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [{path.removeprefix(f"{ROOT}/") for path in json.loads(line)} for line in done.stdout.splitlines()]
    return dict(zip(lines, found, strict=True))


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
