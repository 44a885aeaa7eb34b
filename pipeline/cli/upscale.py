"""`binsr upscale`: upscale image files."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from pipeline.cli.jobs import Job, jobs_of
from pipeline.cli.networks import find_network
from pipeline.cli.output import note, print_error, print_json, unusable
from pipeline.cli.pictures import check_writable, read, write
from pipeline.data.resize import imresize
from pipeline.engine import Engine
from pipeline.engine.runner import TILE, Activations, FloatLayers
from pipeline.errors import InputError


@dataclass(frozen=True)
class UpscaleOptions:
    """The options of `binsr upscale`; None for one that was not given."""

    model: str | None = None
    scale: int | None = None
    activations: Activations = "float32"
    float_layers: FloatLayers = "float32"
    threads: int | None = None
    tile: int | None = None
    format: str | None = None
    overwrite: bool = False


def upscale_files(arguments: Sequence[str], out: Path, settings: UpscaleOptions, as_json: bool) -> int:
    """Upscale the images that the arguments name (see `jobs_of`); if one fails, go on with the others.

    Returns
    -------
    int
        The exit code: 2 if any image failed, else 0.

    Raises
    ------
    InputError
        If an argument or an option is invalid; nothing is written then.
    """
    network = find_network(settings.model, settings.scale)
    jobs = jobs_of(arguments, out, settings.format)
    tile = settings.tile or TILE
    engine = Engine.load(network.path, settings.activations, settings.threads, settings.float_layers, tile)
    records = []
    hidden = as_json or not sys.stderr.isatty()
    with Progress(console=Console(stderr=True), disable=hidden, transient=True) as progress:
        for job in progress.track(jobs, description=f"×{network.scale} by {network.name}"):
            records.append(_record(job, engine, settings.overwrite))
    counts = Counter(record["status"] for record in records)
    if as_json:
        about: dict[str, Any] = {"model": network.name, "scale": network.scale}
        about |= {"activations": settings.activations, "float_layers": settings.float_layers}
        print_json(about | {"files": records, **{s: counts[s] for s in ("upscaled", "skipped", "failed")}})
    else:
        print(_summary(counts, network.name, network.scale))
    return 2 if counts["failed"] else 0


def _record(job: Job, engine: Engine, overwrite: bool) -> dict[str, Any]:
    """Run one job and record its outcome."""
    record: dict[str, Any] = {"input": str(job.input), "output": str(job.output)}
    started = time.perf_counter()
    try:
        if not overwrite and job.output.exists():
            return record | {"status": "skipped"}
        sizes, notes = _upscale(job, engine)
    except MemoryError:
        error = f"{job.input}: not enough memory; choose a smaller --tile, or cut the image into parts"
    except OSError as caught:
        error = unusable(caught)
    except InputError as caught:
        error = str(caught)
    else:
        for text in notes:
            note(f"{job.input}: {text}")
        seconds = round(time.perf_counter() - started, 3)
        return record | sizes | {"seconds": seconds, "notes": notes, "status": "upscaled"}
    print_error(error)
    return record | {"error": error, "status": "failed"}


def _upscale(job: Job, engine: Engine) -> tuple[dict[str, Any], list[str]]:
    """Upscale one image; give its sizes (height first) and the notes."""
    picture, scale = read(job.input), engine.architecture.scale
    height, width = picture.pixels.shape[:2]
    check_writable(job.output, scale * height, scale * width)
    alpha = None if picture.alpha is None else imresize(picture.alpha, scale)
    notes = write(replace(picture, pixels=engine.upscale(picture.pixels), alpha=alpha), job.output)
    sizes = {"input_size": [height, width], "output_size": [scale * height, scale * width]}
    return sizes, [*picture.notes, *notes]


def _summary(counts: Counter[str], name: str, scale: int) -> str:
    done = counts["upscaled"]
    parts = [f"{done} image{'' if done == 1 else 's'} upscaled ×{scale} by {name}"]
    if counts["skipped"]:
        parts.append(f"{counts['skipped']} skipped (the output exists; use --overwrite to replace it)")
    if counts["failed"]:
        parts.append(f"{counts['failed']} failed")
    return ", ".join(parts)
