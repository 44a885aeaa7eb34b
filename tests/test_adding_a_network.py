"""The README's steps for adding a network are all that it takes: a copy of the repository goes them and runs."""

import ast
import re
import subprocess
import sys

import pytest
import yaml

from pipeline.runs import MODELS
from tests.conftest import ROOT
from tests.small import write_sets
from tests.small_repository import ENVIRONMENT, copy_code

MODULE = '''
"""The smallest network: one residual block between two convolutions."""

from torch import nn

from pipeline.models.convolutions import convolutions


class Block(nn.Module):
    def __init__(self, conv, channels):
        super().__init__()
        self.conv1, self.conv2 = conv(channels, channels, 3), conv(channels, channels, 3)

    def forward(self, x):
        return x + self.conv2(self.conv1(x).relu())


class Network(nn.Module):
    def __init__(self, scale, weights, blocks=1, channels=16, **binarization):
        super().__init__()
        inside, outside = convolutions(weights, **binarization)
        self.head = outside(3, channels, 3)
        self.blocks = nn.Sequential(*(Block(inside, channels) for _ in range(blocks)))
        self.tail = outside(channels, 3 * scale**2, 3)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x):
        return self.shuffle(self.tail(self.blocks(self.head(x).relu())))
'''
PARAMETERS = (3 * 9 + 1) * 16 + 2 * (16 * 9 + 1) * 16 + (16 * 9 + 1) * 12

PASS = '''
def tiny_block(net: Architecture, ops: Ops, block: str, x: Array) -> Array:
    """A residual block of the smallest network."""
    change = ops.conv(f"{block}.conv1", x, activation=RELU)
    return ops.conv(f"{block}.conv2", change, residual=x)


def tiny(net: Architecture, ops: Ops, x: Array) -> Array:
    """The smallest network, see `pipeline.models.tiny`."""
    return ops.conv("tail", net.body(ops, ops.conv("head", x, activation=RELU)), shuffle=net.scale)


'''

# By file: what stands there already, and what takes its place. None is a new file.
FACTS = f'    "tiny": Facts("Tiny", {{"blocks": 1, "channels": 1}}, iterations=1_000, parameters={PARAMETERS}),\n'
EDITS: dict[str, list[tuple[str, str]] | None] = {
    "pipeline/models/tiny.py": None,
    "pipeline/networks.py": [(r"(NETWORKS = \{\n)", rf"\1{FACTS}")],
    "pipeline/engine/networks.py": [
        (r"(# By network:)", rf"{PASS.lstrip()}\1"),
        (r"(\] = \{\n)", r'\1    "tiny": (tiny, tiny_block),\n'),
    ],
    "conf/config.yaml": [
        (r"(?m)^(    vdsr: .*\n)", r"\1    tiny: {blocks: 1, channels: 16}\n"),
        (r"\Z", r'\ntrain: {tiny: "${train.edsr}"}\n'),
    ],
    "conf/profile/quick.yaml": [
        (r"(models: \[)", r"\1tiny, "),
        (r"(?m)^(network:\n)", r"\1  tiny: {blocks: 1, channels: 8}\n"),
    ],
}

# Runs in the copy, where a network of another name has been added.
RUN = """
import json, runpy, sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pipeline import labels
from pipeline.benchmark import workloads
from pipeline.data.prepared import PreparedSet
from pipeline.engine import Engine
from pipeline.importing import import_network
from pipeline.inference import upscale
from pipeline.packing import load
from pipeline.reporting.reservations import papers_train, reduced_networks
from pipeline.runs import MODELS, Run, prepared_folder
from pipeline.zoo.queue import Entry

def stage(name, *arguments):
    sys.argv = [name, *arguments]
    runpy.run_module(f"stages.{name}", run_name="__main__")

assert "tiny" in MODELS
image = PreparedSet.open(prepared_folder("embedded-test")).lr(0, 2)
for weights in ("float", "binary"):
    network = ("--model", "tiny", "--scale", "2", "--weights", weights)
    stage("train", *network)
    stage("export", *network)
    stage("evaluate", *network, "--set", "embedded-test")
    run = Run("tiny", 2, weights)
    module, engine = load(run.packed), Engine.load(run.packed, "float32")
    x = np.random.default_rng(0).random((3, 9, 14), np.float32)
    with torch.inference_mode():
        expected = module(torch.from_numpy(x)[None])[0].numpy()
    assert expected.shape == (3, 18, 28)
    np.testing.assert_allclose(engine.forward(x), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    differences = engine.upscale(image).astype(int) - upscale(module, image)
    assert np.abs(differences).max() <= 1 and differences.any(axis=-1).mean() < 0.01
    scores = json.loads(Path(f"results/evaluate/embedded-test/{run.name}.json").read_text())
    assert {"torch", "engine_float32"} <= scores.keys()
    if weights == "binary":
        assert len(engine.ops.convolutions) == 4 and len(module.metadata["activations"]["int8"]) == 2
        Engine.load(run.packed, "int8", float_layers="int8").upscale(image)

packed = Run("tiny", 2, "float").packed
assert import_network(packed, "tiny").config == load(packed).config
plain = import_network(Run("tiny", 2, "float").weights_file, "tiny", 2)
assert plain.config == load(packed).config

whole = workloads.network("tiny", 2, {"blocks": 1, "channels": 8}, {})
for piece in (whole, workloads.body(whole)):
    inputs = piece.input(7, 6)
    with torch.inference_mode():
        expected = piece.binary(torch.from_numpy(inputs)[None])[0].numpy()
    got = Engine(piece.packed, architecture=piece.architecture).forward(inputs)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * np.abs(expected).max())

stage("footprint")
sizes = json.loads(Path("results/footprint.json").read_text())
assert sizes["tiny-x2-binary"]["bytes"] < sizes["tiny-x2-float"]["bytes"]

assert Entry(model="tiny", scales=[2], weights="float").name == "tiny-x2-float"
assert labels.network("tiny", 2) == "Tiny ×2"
assert papers_train(["tiny"]) == "the papers train for 1,000 (Tiny)"
assert reduced_networks({("tiny", 2): sizes["tiny-x2-float"]["parameters"]}) == []
assert "Tiny" in reduced_networks({("tiny", 2): 10})[0]
"""


@pytest.fixture(scope="module")
def section() -> str:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return readme.split("## Adding a network\n")[1].split("\n## ")[0].replace("<name>", "tiny")


@pytest.fixture(scope="module")
def added(section, tmp_path_factory):
    """A copy of the repository with the network added."""
    folder = tmp_path_factory.mktemp("added")
    copy_code(folder, "conf", "pipeline", "stages", "tests")
    (folder / "zoo").mkdir()
    for path, changes in EDITS.items():
        text = MODULE.lstrip() if changes is None else (folder / path).read_text(encoding="utf-8")
        for place, becomes in changes or ():
            text, count = re.subn(place, becomes, text, count=1)
            assert count == 1, (path, place)
        (folder / path).write_text(text, encoding="utf-8")
    for command in re.findall(r"`python (-m .*?)`", section):
        run(folder, folder, *command.split())
    return folder


def run(code, folder, *arguments):
    """Run Python in `folder` with the code of another."""
    environment = ENVIRONMENT | {"PYTHONPATH": str(code)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_steps_of_the_readme_name_these_files(section):
    steps = section.split("\n\nTraining, packing")[0]
    assert set(re.findall(r"(?m)^\d\. `([\w/.]+)`", steps)) == set(EDITS)


def test_the_added_network_goes_through_all_of_it(added, tmp_path):
    params = yaml.safe_load((added / "params.yaml").read_text())
    assert "tiny" in params["matrix"]["models"]
    short = {"iterations": 6, "validate_every": 3, "checkpoint_every": 3, "patch": {"size": 8, "of": "lr"}}
    params["train"]["tiny"] |= short
    params["export"] |= {"calibration_images": 2, "calibration_crop": 12}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    write_sets(tmp_path, "embedded-train", "embedded-valid", "embedded-test")
    run(added, tmp_path, "-c", RUN)


def test_the_tests_of_every_network_take_it_and_pass(added):
    files = ("tests/models/test_models.py", "tests/engine/test_networks.py", "tests/test_packing.py")
    command = f"-m pytest -v -p no:cacheprovider -p no:xdist {' '.join(files)} tests/test_params.py"
    output = run(added, added, *command.split(), "-k", "tiny or test_params")
    for file in files:
        assert re.search(rf"{file}::\S*tiny\S* PASSED", output), file


# Where a network may be named, beside its own module.
NAMED = {
    "pipeline/networks.py": "the table of them",
    "pipeline/engine/networks.py": "their forward passes",
    "pipeline/importing.py": "the names of EDSR's tensors in other projects",
    "pipeline/reporting/recipe.py": "the network on which the optimizers are compared",
    "pipeline/reporting/published_claim.py": "the paper gives numbers of SRResNet alone",
    "pipeline/reporting/sizes.py": "the paper claims it of SRResNet",
}


def literals(tree):
    """The strings of a module that are no docstrings."""
    expressions = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in expressions:
            yield node.value


def test_no_other_file_names_a_network():
    names = re.compile(rf"\b({'|'.join(MODELS)})\b")
    modules = (path for folder in ("pipeline", "stages") for path in (ROOT / folder).rglob("*.py"))
    naming = {
        str(path.relative_to(ROOT))
        for path in modules
        if any(names.search(text) for text in literals(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert naming == set(NAMED)
    templates = [*(ROOT / "reports/templates").rglob("*.j2"), *(ROOT / "pipeline").rglob("*.j2")]
    assert templates and [path for path in templates if names.search(path.read_text(encoding="utf-8"))] == []
