"""Upscale an image of 6000×4000 by published networks; write the peak memory and time to docs/large.json and .md.

Each is run by `binsr upscale` in a process of its own, in its default mode; of networks that differ only in their
training, one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from skimage.data import astronaut

from pipeline import labels
from pipeline.errors import InputError
from pipeline.files import write_json, write_text
from pipeline.program import run_program
from pipeline.provenance import environment
from pipeline.tables import Column, table
from pipeline.zoo.catalogue import ZOO, chosen_networks

HEIGHT, WIDTH = 4000, 6000
WARM_UP_SIZE = 16  # side of the image that is upscaled first, so that compiling does not count
MIB = 2**20
PILLOW_BYTES = 4  # of a pixel in RGB

# A small process between: the peak of a child starts at what its parent held.
MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print("\\n" + str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""


def run_measured(command: Sequence[str], **options: Any) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run a command; return how it ended, with its standard output, and the peak of its resident memory in bytes.

    The options are those of `subprocess.run`.
    """
    measured = [sys.executable, "-c", MEASURED, *command]
    ended = subprocess.run(measured, stdout=subprocess.PIPE, text=True, **options)
    ended.stdout, _, kib = ended.stdout.rstrip("\n").rpartition("\n")
    return ended, int(kib) * 1024


def upscale_large(name: str, scale: int, height: int, width: int, folder: Path) -> dict[str, Any]:
    """Upscale an image by a published network in a process of its own, after a small one in another.

    Returns
    -------
    dict
        ``network``; ``activations`` and ``float_layers``, the mode; ``seconds``, decoding and encoding included;
        ``images_mib``, the pixels of both images; ``copy_mib``, Pillow's copy of the larger one, which it encodes;
        ``peak_mib``, the process's peak of resident memory.

    Raises
    ------
    InputError
        If it fails.
    """
    _upscale(name, WARM_UP_SIZE, WARM_UP_SIZE, folder)
    told, peak = _upscale(name, height, width, folder)
    return {
        "network": name,
        "activations": told["activations"],
        "float_layers": told["float_layers"],
        "seconds": told["files"][0]["seconds"],
        "images_mib": round(3 * height * width * (1 + scale**2) / MIB, 1),
        "copy_mib": round(PILLOW_BYTES * height * width * scale**2 / MIB, 1),
        "peak_mib": round(peak / MIB, 1),
    }


def _upscale(name: str, height: int, width: int, folder: Path) -> tuple[dict[str, Any], int]:
    """Return what `binsr upscale --json` told, and the peak of its memory in bytes."""
    source, target = folder / "large.bmp", folder / "larger.bmp"
    repeats = -(-height // 512), -(-width // 512), 1
    Image.fromarray(np.tile(astronaut(), repeats)[:height, :width]).save(source)
    binsr = [sys.executable, "-m", "pipeline", "upscale"]
    options = ["--model", name, "--json", "--overwrite"]
    ended, peak = run_measured([*binsr, str(source), "-o", str(target), *options])
    if ended.returncode:
        raise InputError(f"{name}: binsr upscale failed with exit code {ended.returncode}; see its message above")
    return json.loads(ended.stdout), peak


def page(record: dict[str, Any]) -> str:
    """Return the record as Markdown."""
    height, width = record["lr_size"]
    columns = {
        "network": Column("network"),
        "activations": Column("binary layers’ activations"),
        "float_layers": Column("float layers"),
        "peak_mib": Column("peak memory, MiB", _whole, "n"),
        "images_mib": Column("of it the images’ pixels, MiB", _whole, "n"),
        "copy_mib": Column("and Pillow’s copy of the larger, MiB", _whole, "n"),
        "seconds": Column("seconds", _whole, "n"),
    }
    machine = record["environment"]
    return "\n".join(
        [
            "# Upscaling a large image",
            "",
            f"`binsr upscale` of an image of {width}×{height} pixels with a binary network of each model and scale,",
            "in its default mode: the peak of resident memory of the process, and the time from reading the image to",
            f"having written the larger one, on {machine['cores']} cores of {machine['cpu']}. Written by `make large`.",
            "",
            table("large", "Large image", columns, record["networks"]).markdown(),
            "",
        ]
    )


def _whole(value: float) -> str:
    return labels.number(value, 0)


def main(
    height: Annotated[int, typer.Option(min=1, help="Of the image, in pixels.")] = HEIGHT,
    width: Annotated[int, typer.Option(min=1, help="Of the image, in pixels.")] = WIDTH,
    models: Annotated[
        list[str] | None, typer.Option(metavar="NAME…", help="Networks. Default: a binary one of each model and scale.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where large.json and large.md are written.")] = Path("docs"),
) -> None:
    chosen = chosen_networks(ZOO, models)
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        for network in chosen:
            measured.append(upscale_large(network.name, network.scale, height, width, Path(folder)))
            print(f"{network.name}: {measured[-1]['peak_mib']} MiB, {measured[-1]['seconds']} s", flush=True)
    record = {"lr_size": [height, width], "networks": measured, "environment": environment()}
    write_json(out / "large.json", record)
    write_text(out / "large.md", page(record))


if __name__ == "__main__":
    run_program(main)
