"""What the command line needs to start: little, and none of what the pipeline needs."""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

import numpy as np
import pytest
from PIL import Image

from pipeline.engine import Engine
from tests.conftest import ROOT
from tests.small import picture

PIPELINES_OWN = ("torch", "dvc", "pandas", "skimage", "matplotlib", "jinja2", "yaml", "requests", "pooch", "tqdm")

WITHOUT = """
import json, sys
blocked, arguments = set(json.loads(sys.argv[1])), sys.argv[2:]

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked or name == "pipeline.params":  # which reads params with pydantic
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
from pipeline.cli.app import main
main(arguments)
"""

IMPORTED = """
import sys
from pipeline.cli.app import main
try:
    main(sys.argv[1:])
finally:
    print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def run(code, *arguments, **environment):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)


def core_distributions():
    """The declared dependencies and what they require in turn."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found, left = set(), list(project["dependencies"])
    while left:
        name = re.match(r"[\w.-]+", left.pop())[0].lower()
        if name not in found:
            found.add(name)
            try:
                left += [line for line in requires(name) or [] if "extra ==" not in line]
            except PackageNotFoundError:  # for another system
                continue
    return {re.sub("[-_.]+", "-", name) for name in found}


def blocked():
    """The installed modules that no core dependency needs."""
    core = core_distributions()
    modules = packages_distributions().items()
    return sorted(
        module
        for module, names in modules
        if module not in ("pipeline", "stages", "zoo") and not core & {re.sub("[-_.]+", "-", n.lower()) for n in names}
    )


@pytest.fixture
def without(tmp_path):
    """Run `binsr` where only the core dependencies can be imported."""
    modules = blocked()
    assert set(PIPELINES_OWN) <= set(modules)
    return lambda *arguments: run(WITHOUT, json.dumps(modules), *arguments)


def test_an_image_is_upscaled_with_the_core_dependencies_alone(tmp_path, network, without):
    Image.fromarray(picture(0)).save(tmp_path / "a.png")
    done = without("upscale", tmp_path / "a.png", "-o", tmp_path / "b.png", "--model", network)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), Engine.load(network).upscale(picture(0)))


def test_the_other_commands_with_the_core_dependencies_alone(tmp_path, network, without):
    for arguments in (["models"], ["info", network], ["bench", "--model", network, "--size", "8x8", "--repeats", "3"]):
        done = without(*arguments)
        assert done.returncode == 0, done.stderr
    for name, seed in (("a.png", 0), ("b.png", 1)):
        Image.fromarray(picture(seed)).save(tmp_path / name)
    done = without("compare", tmp_path / "a.png", tmp_path / "b.png", "--json")
    assert done.returncode == 0 and done.stderr == "note: SSIM needs scikit-image; run: pip install scikit-image\n"
    mean = json.loads(done.stdout)["mean"]
    assert mean["ssim_y"] is None and mean["psnr_y"] > 5 and mean["psnr_rgb"] > 5


def test_bench_says_that_pytorch_is_missing(without):
    done = without("bench", "--size", "8x8", "--repeats", "3", "--json")
    assert done.returncode == 0, done.stderr
    missing = json.loads(done.stdout)["missing"]["torch_channels_last"]
    assert missing == "PyTorch is not installed; run: pip install torch"


@pytest.mark.parametrize("arguments", [["--help"], ["upscale", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments):
    done = run(IMPORTED, *arguments)
    assert done.returncode == 0
    assert not {"numba", "numpy", "PIL", "torch", "safetensors", "pandas"} & set(done.stderr.split())
    assert "typer" in done.stderr.split()


def test_help_names_commands_and_exit_codes(binsr):
    for arguments in (["--help"], []):
        done = binsr(*arguments)
        assert done.code == 0
        assert all(name in done.out for name in ("upscale", "models", "info", "bench", "compare"))
        assert all(name in " ".join(done.out.split()) for name in ("0 done", "2 wrong input", "130 interrupted"))


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "pipeline"]
    done = subprocess.run([*command, "--version"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"binsr \d+\.\d+\.\d+\n", done.stdout)
    done = subprocess.run([*command, "unknown"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr == "error: No such command 'unknown'; see binsr --help\n"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes differ there")
@pytest.mark.parametrize("argument", ["--version", "models"])
def test_a_reader_that_is_gone_is_no_error(argument):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "pipeline", argument]
    environment = os.environ | {"PYTHONUNBUFFERED": ""}  # what is short is held back until the end
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=closed, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1 and done.stderr == ""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("binsr upscale --model srresnet-x4-b", ["srresnet-x4-binary"]),
        ("binsr info srresnet-x4-f", ["srresnet-x4-float"]),
        ("binsr upscale --activations i", ["int8", "int6", "int1"]),
        ("binsr upscale --format w", ["webp"]),
        ("binsr upsc", ["upscale"]),
    ],
)
def test_the_shell_completes_names_and_choices(words, offered):
    position = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = run("from pipeline.cli.app import main; main()", _BINSR_COMPLETE="complete_bash", **position)
    assert set(offered) <= set(done.stdout.split()), done
