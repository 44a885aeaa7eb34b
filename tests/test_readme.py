"""The README: each of its commands runs, its table is that of the record beside it, and what it links to is there."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from pipeline.commands.readme import BEGIN, END, RECORD, table
from pipeline.params import load_params
from pipeline.reporting.published_claim import zoo_claim
from pipeline.reporting.results import read_zoo
from tests.conftest import ROOT, SHARED
from tests.small import picture
from tests.small_repository import ENVIRONMENT
from tests.small_zoo import QUEUE

README = (ROOT / "README.md").read_text(encoding="utf-8")
MIRROR = SHARED / "mirror"

JUDGED = "published_accuracy"

ON_THE_ZOO = "python -m pipeline.zoo.verify --sets Set5 --models srresnet-x4-binary"

LAYER = "python -m pipeline.engine.bench --model layer"
TUNE = "python -m pipeline.engine.tune"
SPEED = "python -m pipeline.training_speed"
BENCH = "python -m pipeline.engine.bench"

# Commands that are too long for a test as they stand, and what is run instead: the same on less.
SHORTER = {
    "binsr bench": "binsr bench --size 32x32",
    f"{BENCH} --runs 3 --json times.json": f"{LAYER} --size 27x48 --runs 2 --json times.json",
    f"{BENCH} --isa avx2": f"{LAYER} --size 27x48 --isa avx2",
    f"{LAYER} --size 270x480": f"{LAYER} --size 27x48",
    TUNE: f"{TUNE} --help",  # tests/engine/kernels/channel/test_blocking.py tunes among less
    f"{SPEED} --models edsr --json speed.json": f"{SPEED} --models edsr --batch 1 --repeats 1 --json speed.json",
    "dvc exp run -S profile=quick -S train.edsr.learning_rate=3e-4": (
        "dvc exp run -S profile=quick -S train.edsr.learning_rate=3e-4 train@edsr-2-float"
    ),
    "make verify": "make --dry-run verify && python -m pipeline.zoo.verify --sets embedded-test",
    "make publish": "make --dry-run publish && python -m pipeline.zoo.publish --sets embedded-test",
}

# What a command must print, or a file that it must write, where that is not plain.
SHOWS = {
    "make repro": "The report is",
    "make test": "1 passed",
    "make verify": r"python -m pipeline.zoo.verify(.|\n)*all \d+ equal",
    "make publish": "python -m pipeline.zoo.publish",
    "make train MINUTES=60": "all trained",
    "make status": "edsr-x2-binary +trained",
    "dvc repro": "dvc push|up to date",
    "dvc params diff": "seed",
    "dvc metrics show": "engine_int8.psnr_y",
    "dvc plots show": "file://",
    "dvc dag --md": "```mermaid",
    "dvc exp run -S profile=bsd": "Ran experiment",
    "dvc exp run -S profile=bsd bicubic": "Ran experiment",
    "dvc exp run -S profile=quick -S train.edsr.learning_rate=3e-4": "Running stage 'train@edsr-2",
    BENCH: "torch_channels_last(.|\n)*engine_int8_all",
    "binsr bench": "engine, int8",
    "binsr models": "edsr-x2-binary",
    "binsr info srresnet-x4-binary": "blocks.0.conv1",
    "binsr compare a.png b.png --border 4": "PSNR-Y",
}

# Files that a command must write, and their sizes in pixels where they are images.
WRITES = {
    "binsr upscale photo.jpg -o large.png": {"large.png": (192, 160)},
    "binsr upscale photo.jpg -o double.png --scale 2": {"double.png": (96, 80)},
    "binsr upscale photos -o large --format webp --activations int8 --float-layers int8": {
        "large/a.webp": (192, 160), "large/b.webp": (192, 160),
    },
    "binsr upscale 'photos/*.png' -o larger --model srresnet-x4-float --json": {"larger/a.png": (192, 160)},
    "make repro": {"reports/index.html": None},
    "python -m stages.train --model edsr --scale 2 --weights float": {"models/edsr-x2-float.safetensors": None},
    "python -m pipeline.training_speed --models edsr --json speed.json": {"speed.json": None},
    f"{BENCH} --runs 3 --json times.json": {"times.json": None},
}  # fmt: skip


def blocks(language: str) -> list[str]:
    """The README's code of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def sequences() -> list[list[str]]:
    """The README's commands, without comments: a block of them runs in its order, blocks in any."""
    lines = [re.sub(r"\s+#.*", "", block, flags=re.MULTILINE).split("\n") for block in blocks("sh")]
    return [[line for line in block if line.strip()] for block in lines]


@pytest.fixture(scope="module")
def place(repository, tmp_path_factory):
    """A small repository, as a new user has it, in which the pipeline has run; its profiles are small too."""
    copy = repository.copy(tmp_path_factory.mktemp("readme") / "repository")
    folder = copy.folder
    for name in ("Makefile", "setup.sh", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, folder / name)
    if (ROOT / ".mypy_cache").exists():  # which makes the second type check quick
        shutil.copytree(ROOT / ".mypy_cache", folder / ".mypy_cache")
    (folder / ".venv").mkdir()  # what `make setup` makes
    for part in set(Path(sys.prefix).iterdir()) - {Path(sys.prefix, "ready")}:
        (folder / ".venv" / part.name).symlink_to(part)
    (folder / ".venv/ready").touch()
    (folder / "tests").mkdir()
    (folder / "tests/test_one.py").write_text('"""One test."""\n\n\ndef test_one():\n    assert True\n')
    small = yaml.safe_load((folder / "params.yaml").read_text())
    for profile in ("quick", "bsd", "cpu"):
        text = yaml.safe_dump(small | {"profile": profile}, sort_keys=False)
        (folder / f"conf/profile/{profile}.yaml").write_text(f"# @package _global_\n{text}")
    (folder / "conf/queue.yaml").write_text("".join(QUEUE.lstrip().splitlines(keepends=True)[:2]))
    for command in (["add", "-A"], ["commit", "-qm", "small"]):
        subprocess.run(["git", *command], cwd=folder, env=ENVIRONMENT, check=True)
    _write_images(folder)
    return copy


def _write_images(folder: Path) -> None:
    """The images that the README's commands name."""
    (folder / "photos").mkdir()
    for number, name in enumerate(("photo.jpg", "photos/a.png", "photos/b.webp", "a.png", "b.png")):
        Image.fromarray(picture(number, 40, 48)).save(folder / name)


@pytest.mark.parametrize("sequence", sequences(), ids=lambda sequence: sequence[0])
def test_every_command_runs(place, sequence):
    for command in sequence:
        if command != ON_THE_ZOO:
            _runs(place, command)


def _runs(place, command: str) -> None:
    before = (place.folder / "params.yaml").read_text()
    for name in WRITES.get(command, ()):
        (place.folder / name).unlink(missing_ok=True)
    if command == "dvc params diff":
        place.change(lambda params: params.update(seed=7))
    done = subprocess.run(
        ["bash", "-c", SHORTER.get(command, command)],
        cwd=place.folder,
        env=ENVIRONMENT | {"PET_STANDALONE": "1"},  # torchrun takes a port that is free
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if command == "dvc params diff":
        (place.folder / "params.yaml").write_text(before)
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    assert "Traceback" not in done.stdout, f"{command}\n{done.stdout}"
    assert re.search(SHOWS.get(command, ""), done.stdout), f"{command}\n{done.stdout}"
    for name, size in WRITES.get(command, {}).items():
        assert (place.folder / name).is_file(), f"{command}: no {name}"
        if size is not None:
            with Image.open(place.folder / name) as image:
                assert image.size == size, name


@pytest.fixture
def beside_the_zoo(tmp_path):
    """A folder with the published networks, and the environment of commands that run there."""
    (tmp_path / "zoo").symlink_to(ROOT / "zoo")
    return {"cwd": tmp_path, "env": ENVIRONMENT | {"PYTHONPATH": str(ROOT), "SR_MIRROR": str(MIRROR)}}


@pytest.mark.skipif(not MIRROR.is_dir(), reason="needs the image sets in ../shared/mirror")
def test_the_command_on_a_published_network_runs(beside_the_zoo):
    assert any(ON_THE_ZOO in sequence for sequence in sequences())
    done = subprocess.run(ON_THE_ZOO.split(), **beside_the_zoo, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"all \d+ equal", done.stdout)


def test_the_python_runs(beside_the_zoo):
    (code,) = blocks("python")
    lr = "import numpy as np\nlr = np.zeros((8, 9, 3), np.uint8)\n"
    subprocess.run([sys.executable, "-c", f"{lr}{code}\nassert sr.shape == (32, 36, 3)"], **beside_the_zoo, check=True)


def test_the_table_of_verdicts_is_that_of_the_record():
    record = json.loads((ROOT / RECORD).read_text())
    shown = README.split(BEGIN)[1].split(END)[0]
    assert shown.strip() == table(record).strip()


def test_the_verdict_on_the_published_networks_is_that_of_the_zoo():
    (shown,) = (claim for claim in json.loads((ROOT / RECORD).read_text())["claims"] if claim["key"] == JUDGED)
    report = load_params(ROOT / "params.yaml").report
    judged = zoo_claim(read_zoo(ROOT, ()), report.claims.accuracy_gap_db, report.protocol)
    assert {field: getattr(judged, field) for field in shown} == shown


def test_what_it_links_to_is_there():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("https:")]
    assert links and [link for link in links if not (ROOT / link).exists()] == []
