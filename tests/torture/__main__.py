"""Try to break the project, thousands of times, and write what happened: docs/faults.json and docs/faults.md."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from pipeline.errors import InputError
from pipeline.files import write_json, write_text
from pipeline.program import run_program
from pipeline.provenance import available_cores, environment
from pipeline.threads import set_threads
from tests.torture.suites import SUITES, run_suite

PARTS = 10  # of each suite, which the cores share
RECORD = "faults.json"


def main(
    suites: Annotated[
        list[str] | None,
        typer.Option(help=f"Some of {', '.join(SUITES)}; the counts of the others stay. Default: all."),
    ] = None,
    share: Annotated[float, typer.Option(help="Of the attempts.", min=0.0, max=1.0)] = 1.0,
    out: Annotated[Path, typer.Option(help="Where the counts are written.")] = Path("docs"),
) -> None:
    if unknown := [name for name in suites or () if name not in SUITES]:
        raise InputError(f"--suites: {unknown[0]} is unknown; choose of {', '.join(SUITES)}")
    counts = {name: max(1, round(share * SUITES[name][1])) for name in suites or SUITES}
    about = environment()
    counted = _counted(out / RECORD)
    failed = False
    # One thread each: the threads of several processes would wait for each other's.
    workers = ProcessPoolExecutor(available_cores(), get_context("spawn"), set_threads, (1,))
    with tempfile.TemporaryDirectory(prefix="torture-") as root, workers as pool:
        parts = {name: _parts(count) for name, count in counts.items()}
        running = {name: [pool.submit(run_suite, name, seeds, Path(root)) for seeds in parts[name]] for name in counts}
        for name, count in counts.items():
            outcomes, faults = Counter[str](), []
            for future in tqdm(running[name], desc=name, disable=None):
                some, wrong = future.result()
                outcomes += some
                faults += wrong
            kinds = dict(outcomes.most_common())
            each = {"fault": SUITES[name][0], "tries": count, "outcomes": kinds, "failed": faults, "environment": about}
            print(f"{name}: {count:,} times, {len(faults)} failed", *faults, sep="\n  ", flush=True)
            counted[name] = each
            counted = {known: counted[known] for known in SUITES if known in counted}
            write_json(out / RECORD, {"suites": counted})
            write_text(out / "faults.md", page(counted))
            failed |= bool(faults)
    if failed:
        sys.exit(1)


def _counted(path: Path) -> dict[str, dict[str, Any]]:
    """Return the suites that a file counts, by name: those that are not tried again stay as they are."""
    return json.loads(path.read_text(encoding="utf-8"))["suites"] if path.exists() else {}


def page(counted: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["| fault | attempts | outcome | count |", "| --- | ---: | --- | ---: |"]
    for each in counted.values():
        rows = [*each["outcomes"].items(), ("**failed**", len(each["failed"]))]
        heads = [(each["fault"], f"{each['tries']:,}"), *[("", "")] * (len(rows) - 1)]
        lines += [
            f"| {fault} | {tries} | {outcome} | {times:,} |"
            for (fault, tries), (outcome, times) in zip(heads, rows, strict=True)
        ]
    about = (
        "Written by `make torture`. Suites were run at different commits, some with fewer attempts than `make torture` "
        "makes; [faults.json](faults.json) has the commit and machine of each."
    )
    return "\n".join(["# Faults, and what they did", "", about, "", *lines, ""])


def _parts(count: int) -> list[range]:
    size = math.ceil(count / PARTS)
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


if __name__ == "__main__":
    run_program(main)
