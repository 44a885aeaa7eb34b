"""What commands print: tables, JSON, and notes beside them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

NONE = "–"
PIPED_WIDTH = 200  # columns where no terminal says how many


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    print(json.dumps(value, indent=2, allow_nan=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, the first column to the left and the others to the right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else PIPED_WIDTH
    Console(width=width, markup=False, highlight=False, emoji=False).print(table)


def number(value: float | None, digits: int) -> str:
    """A number with so many decimals; a dash for none."""
    return NONE if value is None else f"{value:,.{digits}f}"


def note(text: str) -> None:
    """One line on standard error: something that the user may want to know."""
    print(f"note: {text}", file=sys.stderr)


def unusable(error: OSError) -> str:
    """What the system says of a path that cannot be used, in one line."""
    named = f"{error.filename}: " if error.filename else ""
    return f"{named}{error.strerror or error}; check the path and what it links to"


def complain(text: object) -> None:
    """One line on standard error: something that failed while the rest goes on."""
    print(f"error: {text}", file=sys.stderr)
