"""Small things that several tests need: a prepared set of synthetic images, and settings of a short training."""

import io
import os
import re
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import yaml
from PIL import Image

from pipeline.cli import app
from pipeline.data.preparation import prepare
from pipeline.data.prepared import PreparedSet
from pipeline.networks import NETWORKS
from pipeline.params import Training
from pipeline.runs import SCALES, prepared_folder, raw_folder
from stages.run import stage


def picture(seed: int, height: int = 40, width: int = 36, channels: int = 3) -> np.ndarray:
    """A smooth random uint8 image, H×W×3 or (channels=1) H×W."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, channels), dtype=np.uint8).squeeze()
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def write_pictures(folder: Path, count: int = 3, **size: int) -> None:
    """Write `count` pictures as PNG; the last is grey."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(picture(i, channels=1 if i == count - 1 else 3, **size)).save(folder / f"image_{i}.png")


def prepared_pictures(folder: Path, scales: tuple[int, ...] = (2, 3, 4), **size: int) -> PreparedSet:
    """A prepared set of three pictures below `folder`."""
    write_pictures(folder / "raw", **size)
    prepare(folder / "raw", folder / "prepared", list(scales))
    return PreparedSet.open(folder / "prepared")


def write_sets(folder: Path, *names: str, **size: int) -> None:
    """Prepared sets of three pictures below `folder`, where the commands look for them, at every scale."""
    for name in names:
        write_pictures(folder / raw_folder(name), **size)
        prepare(folder / raw_folder(name), folder / prepared_folder(name), SCALES)


def run_here(folder: Path, program: str, *arguments: str) -> tuple[int, list[str]]:
    """Run ``binsr`` or a stage in a folder, in this process, which has imported what takes seconds.

    Returns
    -------
    int
        The exit code.
    list of str
        The lines of standard error that tell of an error.
    """
    before, said, code = Path.cwd(), io.StringIO(), 0
    torch.set_num_threads(1)  # Numba's first call, as of an engine that ran here before, has changed it
    os.chdir(folder)
    try:
        with (
            patch.dict(os.environ, {"SR_MIRROR": ""}),
            patch("sys.argv", [program, *arguments]),
            redirect_stdout(io.StringIO()),
            redirect_stderr(said),
        ):
            if program == "binsr":
                app.main(arguments)
            stage(import_module(program).main)
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        os.chdir(before)
        torch.use_deterministic_algorithms(False)  # which a training sets for its whole process
    return code, [line for line in re.split(r"[\r\n]+", said.getvalue()) if "error: " in line]


def small_sizes(model: str, **wanted: float) -> dict[str, float]:
    """The arguments of a small network: of those wanted the ones that it has, and the least of other whole numbers."""
    sizes = NETWORKS[model].sizes
    return {name: wanted.get(name, least) for name, least in sizes.items() if name in wanted or isinstance(least, int)}


def settings(**changes: Any) -> Training:
    """Settings of a training of a few iterations."""
    values = yaml.safe_load(
        """
        iterations: 8
        batch: 4
        patch: {size: 8, of: lr}
        loss: l1
        optimizer: adam
        momentum: 0.9
        learning_rate: 0.001
        latent_rate: 1.0
        weight_decay: 0.0
        schedule: {kind: cosine, every: 1, factor: 1.0, flat: 0.0}
        clip: {kind: norm, limit: 1.0}
        ema: 0.0
        precision: float32
        validate_every: 4
        checkpoint_every: 3
        max_minutes: null
        """
    )
    return Training.model_validate(values | changes)
