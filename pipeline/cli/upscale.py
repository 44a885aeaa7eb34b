"""`binsr upscale`: upscale image files."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from pipeline.cli.addresses import local_source, local_target, place_of
from pipeline.cli.jobs import Job, jobs_of
from pipeline.cli.networks import find_network
from pipeline.cli.output import note, print_error, print_json, unusable
from pipeline.cli.pictures import check_format, read, write
from pipeline.data.resize import imresize
from pipeline.engine import Engine
from pipeline.engine.runner import TILE
from pipeline.errors import InputError, printable
from pipeline.files import sweep
from pipeline.runs import Activations, FloatLayers
from pipeline.upscaling import NotFiniteError


@dataclass(frozen=True)
class UpscaleOptions:
    """The options of `binsr upscale`; None for one that was not given."""

    model: str | None = None
    scale: int | None = None
    activations: Activations = "auto"
    float_layers: FloatLayers | None = None
    threads: int | None = None
    tile: int | None = None
    format: str | None = None
    overwrite: bool = False


def upscale_files(
    arguments: Sequence[str], out: str, settings: UpscaleOptions, as_json: bool, scheduler: str | None = None
) -> int:
    """Upscale the images that the arguments name (see `jobs_of`); if one fails, go on with the others.

    With the address of a Dask scheduler, its workers do it.

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
    jobs = jobs_of(arguments, place_of(out), settings.format)
    sweep({job.output.parent for job in jobs if isinstance(job.output, Path)})
    engine = load_engine(network.path, settings, settings.threads if scheduler is None else None)
    counts: Counter[str] = Counter()
    records = []
    hidden = as_json or not sys.stderr.isatty()
    title = f"×{network.scale} by {printable(network.name)}"
    with Progress(console=Console(stderr=True), disable=hidden, transient=True) as progress, ExitStack() as stack:
        done: Iterable[dict[str, Any]]
        if scheduler is None:
            done = (upscale_file(job, engine, settings.overwrite) for job in jobs)
        else:
            from pipeline.cli.spread import upscaled

            done = stack.enter_context(closing(upscaled(scheduler, jobs, network.path, settings)))
        for record in progress.track(done, len(jobs), description=title):
            counts[record["status"]] += 1
            for text in record.get("notes", ()):
                note(f"{record['input']}: {text}")
            if "error" in record:
                print_error(record["error"])
            if as_json:
                records.append(record)
    if as_json:
        about: dict[str, Any] = {"model": network.name, "scale": network.scale}
        about |= {"activations": engine.activations, "float_layers": engine.float_layers}
        print_json(about | {"files": records, **{s: counts[s] for s in ("upscaled", "skipped", "failed")}})
    else:
        print(_summary(counts, printable(network.name), network.scale))
    return 2 if counts["failed"] else 0


def load_engine(network: Path, settings: UpscaleOptions, threads: int | None) -> Engine:
    """Load a packed network, to run it as the options say."""
    return Engine.load(network, settings.activations, threads, settings.float_layers, settings.tile or TILE)


def upscale_file(job: Job, engine: Engine, overwrite: bool) -> dict[str, Any]:
    """Run one job and record its outcome.

    Returns
    -------
    dict
        ``input``, ``output``, and ``status``: ``skipped``, ``failed`` with ``error``, or ``upscaled`` with
        ``input_size`` and ``output_size`` (height first), ``seconds`` and ``notes``.
    """
    record: dict[str, Any] = {"input": str(job.input), "output": str(job.output)}
    started = time.perf_counter()
    try:
        if not overwrite and job.output.exists():
            return record | {"status": "skipped"}
        about = _upscale(job, engine)
    except MemoryError:
        error = f"{job.input}: not enough memory; choose a smaller --tile, or cut the image into parts"
    except OSError as caught:
        error = unusable(caught)
    except NotFiniteError as caught:
        error = f"{job.input}: {caught}"
    except InputError as caught:
        error = str(caught)
    else:
        return record | about | {"seconds": round(time.perf_counter() - started, 3), "status": "upscaled"}
    return record | {"error": error, "status": "failed"}


def _upscale(job: Job, engine: Engine) -> dict[str, Any]:
    """Upscale one image; return its sizes and the notes."""
    scale = engine.architecture.scale
    with local_source(job.input) as source:
        picture = read(source)
    height, width = picture.pixels.shape[:2]
    with local_target(job.output) as target:
        check_format(target, scale * height, scale * width)
        alpha = None if picture.alpha is None else imresize(picture.alpha, scale)
        pixels = engine.upscale(picture.pixels)
        notes = write(replace(picture, pixels=pixels, alpha=alpha), target)
    sizes = {"input_size": [height, width], "output_size": [scale * height, scale * width]}
    return sizes | {"notes": [*picture.notes, *notes]}


def _summary(counts: Counter[str], name: str, scale: int) -> str:
    done = counts["upscaled"]
    parts = [f"{done} image{'' if done == 1 else 's'} upscaled ×{scale} by {name}"]
    if counts["skipped"]:
        parts.append(f"{counts['skipped']} skipped (the output exists; use --overwrite to replace it)")
    if counts["failed"]:
        parts.append(f"{counts['failed']} failed")
    return ", ".join(parts)
