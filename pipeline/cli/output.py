"""Output of the commands: tables, JSON, notes and errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.errors import DISK, printable, say, unwritten

NONE = "–"
PIPED_WIDTH = 200  # columns if standard output is no terminal


def print_json(value: Any) -> None:
    """Print one JSON document to standard output."""
    print(json.dumps(value, indent=2, allow_nan=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; the first column is aligned left, the others right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row))
    width = None if sys.stdout.isatty() else PIPED_WIDTH
    Console(width=width, markup=False, highlight=False, emoji=False).print(table)


def number(value: float | None, digits: int) -> str:
    """Format a number with `digits` decimals; a dash for None."""
    return NONE if value is None else f"{value:,.{digits}f}"


def note(text: str) -> None:
    """Print a line that the user may want to know to standard error."""
    say(f"note: {text}")


def unusable(error: OSError) -> str:
    """Return the operating system's reason why a path cannot be used, in one line."""
    if error.errno in DISK:
        return str(unwritten(error.filename or "standard output", error))
    path = f"{error.filename}: " if error.filename else ""
    return f"{path}{error.strerror or error}; check the path and any links in it"


def print_error(text: object) -> None:
    """Print an error to standard error, for a failure that does not stop the command."""
    say(f"error: {text}")
