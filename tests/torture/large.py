"""`binsr upscale` of ten thousand files with a damaged one, and of an image of 100 megapixels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.commands.large import run_measured
from tests.conftest import ROOT
from tests.engine.random_networks import save_random
from tests.small import picture

FILES, SIDE = 10_000, 10_000
MOST_BYTES = 2**30  # resident, beyond the pixels of both images, and the copy of the result that Pillow encodes
COPY_BYTES = 4  # for each pixel of that copy: Pillow pads RGB
Image.MAX_IMAGE_PIXELS = None  # the result has four times as many


def attempt(seed: int, folder: Path) -> str:
    return many_files(seed, folder, FILES) if seed % 2 else large_image(seed, folder, SIDE)


def _upscale(folder: Path, source: str, target: str) -> tuple[int, str, int]:
    """Run it; return its exit code, what it said, and the peak of its resident memory in bytes."""
    network = folder / "network.safetensors"
    save_random(network, "srresnet", 2, blocks=1, channels=8)
    command = [sys.executable, "-m", "pipeline", "upscale", source, "-o", target, "--model", str(network)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended, peak = run_measured(command, cwd=folder, env=environment, stderr=subprocess.STDOUT)
    return ended.returncode, ended.stdout, peak


def many_files(seed: int, folder: Path, count: int) -> str:
    """All but the damaged one are upscaled, and it is named."""
    (folder / "in").mkdir()
    for number in range(count):
        Image.fromarray(picture(number, 8, 9)).save(folder / f"in/{number}.png")
    bad = int(np.random.default_rng(seed).integers(count))
    path = folder / f"in/{bad}.png"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code, said, _ = _upscale(folder, "in", "out")
    assert code == 2 and said.count("error:") == 1 and f"{bad}.png" in said and f"{count - 1} images" in said, said
    assert {path.stem for path in (folder / "out").iterdir()} == {str(i) for i in range(count) if i != bad}
    return f"{count - 1:,} files were upscaled, and the damaged one was named"


def large_image(seed: int, folder: Path, side: int) -> str:
    """Pixels far inside a part are those of the part alone, and memory is bounded."""
    block = picture(seed, 500, 500)
    Image.fromarray(np.tile(block, (side // 500, side // 500, 1))).save(folder / "in.bmp")
    code, said, peak = _upscale(folder, "in.bmp", "out.bmp")
    assert code == 0, said
    pixels = side * side * (3 + 2 * 2 * (3 + COPY_BYTES))
    assert peak < pixels + MOST_BYTES, f"{peak / 2**20:.0f} MiB resident"
    result = np.asarray(Image.open(folder / "out.bmp"))
    assert result.shape == (2 * side, 2 * side, 3)
    inner = result[1000:-1000, 1000:-1000]  # without the edge of the image, it repeats as the image does
    assert np.array_equal(inner[:1000, :1000], inner[-1000:, -1000:]) and np.ptp(inner[:1000, :1000]) > 50
    megapixels = side * side // 10**6
    return (
        f"{megapixels} megapixels were upscaled, in less than 1 GiB beyond both images and Pillow's copy of the larger"
    )
