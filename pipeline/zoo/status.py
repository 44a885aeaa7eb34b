"""Show which networks of the queue are trained, which are being trained, how far they are, and when they will end."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.labels import duration
from pipeline.params import Params, load_params
from pipeline.program import run_program
from pipeline.training.checkpoints import PROGRESS
from pipeline.zoo.catalogue import ZOO
from pipeline.zoo.locks import is_claimed
from pipeline.zoo.queue import QUEUE, Entry, load_queue
from pipeline.zoo.train import has_start, is_finished, lock_file, state_folder


def describe(entry: Entry, entries: list[Entry], params: Params, zoo: Path, now: datetime) -> str:
    """Return the state of one training, in words."""
    if is_finished(entry, entries, params, zoo):
        return "trained"
    is_running = is_claimed(lock_file(entry, zoo))
    progress = _progress(state_folder(entry, params, zoo) / PROGRESS)
    if progress is None:
        if is_running:
            return "starting"
        start = entry.starts_from
        return "waiting" if start is None or has_start(entry, entries, params, zoo) else f"waiting for {start.name}"
    made, planned = progress["iteration"], progress["iterations"]
    left = progress["seconds"] * (planned - made) / made
    level = "" if progress["psnr_y"] is None else f", {progress['psnr_y']:.2f} dB on the validation images"
    position = f"{made:,} of {planned:,} iterations, {progress['seconds'] / made:.2f} s each{level}"
    if not is_running:
        return f"stopped at {position}; {duration(left)} left"
    return f"running: {position}; ends in {duration(left)}, at {now + timedelta(seconds=left):%Y-%m-%d %H:%M}"


def _progress(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def main(
    params_file: Annotated[Path, typer.Option("--params")] = Path("zoo", "cpu.yaml"),
    queue: Annotated[Path, typer.Option()] = QUEUE,
    zoo: Annotated[Path, typer.Option()] = ZOO,
) -> None:
    params, now = load_params(params_file), datetime.now()
    entries = load_queue(queue)
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        print(f"{entry.name:{width}}  {describe(entry, entries, params, zoo, now)}")


if __name__ == "__main__":
    run_program(main)
