"""dvc.yaml: every stage names exactly the code that it imports."""

import subprocess
import sys

import pytest
import yaml

from pipeline.runs import MODELS
from tests.conftest import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

# They check or place things; no result depends on them.
NO_RESULT_DEPENDS_ON = {
    f"{name}.py"
    for name in ("pipeline/__init__", "pipeline/data/__init__", "pipeline/errors", "pipeline/files", "pipeline/params")
} | {
    "pipeline/data/folders.py",
    "pipeline/engine/bench.py",  # commands for the user's own machine
    "pipeline/engine/probe.py",  # what it gives is shown beside results
    "pipeline/engine/tune.py",
    "pipeline/engine/reference.py",  # the definitions that kernels are tested against
    "pipeline/runs.py",
    "stages/__init__.py",
    "stages/arguments.py",
    "stages/run.py",
}

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
    done = subprocess.run(
        [sys.executable, "-c", LIST_IMPORTS, module, *models], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {str(path).removeprefix(f"{ROOT}/") for path in done.stdout.split()}


def declared(stage):
    """The Python files among a stage's dependencies, those in folders included."""
    files = set()
    for dep in stage["deps"]:
        path = dep.replace("${item.model}", "edsr")
        if path.endswith(".py"):
            files.add(path)
        elif path.startswith("pipeline/") and (ROOT / path).is_dir():
            files |= {str(file.relative_to(ROOT)) for file in (ROOT / path).rglob("*.py")}
    return files


@pytest.mark.parametrize("name", [name for name in STAGES if name != "check"])
def test_a_stage_depends_on_exactly_the_code_it_imports(name):
    # The registry is imported to check params, and counts where it says what is fetched.
    exempt = NO_RESULT_DEPENDS_ON | ({"pipeline/data/registry.py"} if name != "fetch" else set())
    assert imported(STAGES[name]) - exempt == declared(STAGES[name]) - NO_RESULT_DEPENDS_ON


@pytest.mark.parametrize("name", STAGES)
def test_declared_files_exist(name):
    for dep in STAGES[name]["deps"]:
        if dep.startswith(("pipeline/", "stages/", "reports/")) and "$" not in dep:
            assert (ROOT / dep).exists(), dep
