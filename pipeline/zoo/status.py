"""Show which networks of the queue are trained, which are being trained, how far they are, and when they will end."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.labels import duration
from pipeline.params import load_params
from pipeline.program import run_program
from pipeline.training.checkpoints import PROGRESS
from pipeline.zoo.catalogue import ZOO
from pipeline.zoo.locks import is_claimed
from pipeline.zoo.queue import QUEUE_FILE, Entry, Queue, load_queue


def describe(entry: Entry, queue: Queue, now: datetime) -> str:
    """Return the state of one training, in words."""
    if queue.is_finished(entry):
        return "trained"
    is_running = is_claimed(queue.lock_file(entry))
    progress = _progress(queue.state_folder(entry) / PROGRESS)
    if progress is None:
        if is_running:
            return "starting"
        start = entry.starts_from
        return "waiting" if start is None or queue.has_start(entry) else f"waiting for {start.name}"
    made, planned = progress["iteration"], progress["iterations"]
    left = progress["seconds"] * (planned - made) / made
    level = "" if progress["psnr_y"] is None else f", {progress['psnr_y']:.2f} dB on the validation images"
    position = f"{made:,} of {planned:,} iterations, {progress['seconds'] / made:.2f} s each{level}"
    if not is_running:
        return f"stopped at {position}; {duration(left)} left"
    end = datetime.fromtimestamp(now.timestamp() + left)  # after seconds that pass, whatever the clock is set to
    return f"running: {position}; ends in {duration(left)}, at {end:%Y-%m-%d %H:%M}"


def _progress(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def main(
    params_file: Annotated[Path, typer.Option("--params")] = Path("zoo", "cpu.yaml"),
    queue_file: Annotated[Path, typer.Option("--queue")] = QUEUE_FILE,
    zoo: Annotated[Path, typer.Option()] = ZOO,
) -> None:
    queue, now = Queue(load_queue(queue_file), load_params(params_file), zoo), datetime.now()
    width = max(len(entry.name) for entry in queue.entries)
    for entry in queue.entries:
        print(f"{entry.name:{width}}  {describe(entry, queue, now)}")


if __name__ == "__main__":
    run_program(main)
