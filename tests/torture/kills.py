"""Programs that are killed at random moments: run again, they end as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from pipeline.engine import Engine
from pipeline.profiles import compose
from tests.conftest import ROOT
from tests.engine.random_networks import save_random
from tests.small import picture, write_sets

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
IMAGES = 12
TRAINED = ("models/edsr-x2-binary.safetensors", "history/edsr-x2-binary.csv")


def _run(folder: Path, arguments: list[str], kill: tuple[int, float] | None = None) -> int:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SR_MIRROR": ""}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, *arguments], cwd=folder, env=environment, text=True, **quiet)
    if kill is not None:
        time.sleep(kill[1])
        process.send_signal(kill[0])
    _, said = process.communicate()
    assert "Traceback" not in said or kill is not None, said
    return process.returncode


def _temporary(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith((".tmp", ".lock"))]


def _moment(rng: np.random.Generator, whole: float) -> tuple[int, float]:
    return int(rng.choice(SIGNALS)), float(rng.uniform(0, whole))


@cache
def _upscaling(folder: Path) -> tuple[Path, list[np.ndarray], float]:
    """The network, the images that it should give, and the seconds that the command takes."""
    network = folder / "network.safetensors"
    save_random(network, "srresnet", 2, blocks=1, channels=8)
    engine = Engine.load(network)
    expected = [engine.upscale(picture(number, 64, 60)) for number in range(IMAGES)]
    start = time.perf_counter()
    upscale(0, folder / "first", None, (network, expected))
    return network, expected, time.perf_counter() - start


def upscale(seed: int, folder: Path, kill: tuple[int, float] | None, known: tuple[Path, list[np.ndarray]]) -> int:
    network, expected = known
    (folder / "in").mkdir(parents=True)
    for number in range(IMAGES):
        Image.fromarray(picture(number, 64, 60)).save(folder / f"in/{number:02}.png")
    command = ["-m", "pipeline", "upscale", "in", "-o", "out", "--model", str(network)]
    calls = 1
    while _run(folder, command, kill) != 0:
        kill, calls = None, calls + 1
        assert calls < 4
    for number, image in enumerate(expected):
        assert np.array_equal(np.asarray(Image.open(folder / f"out/{number:02}.png")), image)
    assert not _temporary(folder)
    return calls


def attempt_upscaling(seed: int, folder: Path) -> str:
    network, expected, whole = _upscaling(folder.parent)
    rng = np.random.default_rng(seed)
    calls = upscale(seed, folder, _moment(rng, whole), (network, expected))
    return "ended before the signal" if calls == 1 else "the next call completed it, as if there had been no signal"


def _train(folder: Path, kill: tuple[int, float] | None = None) -> int:
    command = ["-m", "stages.train", "--model", "edsr", "--scale", "2", "--weights", "binary"]
    return _run(folder, command, kill)


def _training_folder(folder: Path) -> None:
    compose("quick", folder / "params.yaml", ROOT / "conf")
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["network"]["edsr"] |= {"blocks": 1, "channels": 32}
    params["train"]["edsr"] |= {"iterations": 200, "batch": 2, "validate_every": 50, "checkpoint_every": 20}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    write_sets(folder, "embedded-train", "embedded-valid", height=48, width=40)


@cache
def _trained(folder: Path) -> tuple[list[bytes], float]:
    """What an undisturbed training writes, and the seconds that it takes."""
    place = folder / "undisturbed"
    place.mkdir()
    _training_folder(place)
    start = time.perf_counter()
    assert _train(place) == 0
    return [(place / name).read_bytes() for name in TRAINED], time.perf_counter() - start


def attempt_training(seed: int, folder: Path) -> str:
    expected, whole = _trained(folder.parent)
    rng = np.random.default_rng(seed)
    _training_folder(folder)
    calls = 1
    if _train(folder, _moment(rng, whole)) != 0:
        calls += 1
        if rng.random() < 0.3 and _train(folder, _moment(rng, whole)) != 0:  # killed again
            calls += 1
        assert _train(folder) == 0
    assert [(folder / name).read_bytes() for name in TRAINED] == expected
    assert not _temporary(folder) and not (folder / "checkpoints/quick/edsr-x2-binary").exists()
    return "ended before the signal" if calls == 1 else "the next call completed it, byte for byte"
