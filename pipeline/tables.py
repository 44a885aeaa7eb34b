"""Tables: a DataFrame, and how each of its columns is shown; as HTML (by a macro of the templates) and as Markdown.

Beside a column ``c`` the frame may have ``c.note`` (small print behind the value), ``c.kind`` (CSS classes of the note
or, without one, of the value) and ``c.link`` (an address). ``row.kind`` has the CSS classes of each row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

NONE = "–"  # stands for a missing value


@dataclass(frozen=True)
class Column:
    """How a column is shown.

    Attributes
    ----------
    title : str
        A line break is kept.
    show : callable
        Returns the text of a value; a missing one is shown as `NONE`, and ``""`` is left empty.
    css : str
        CSS classes of its cells; ``n`` is a number.
    note : str
        What the small print behind its values means, for saved tables.
    """

    title: str
    show: Callable[[Any], str] = str
    css: str = ""
    note: str = ""

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers."""
        return "n" in self.css.split()


@dataclass(frozen=True)
class Cell:
    """One cell as text, see the module."""

    text: str
    note: str = ""
    kind: str = ""
    link: str = ""
    css: str = ""
    span: int = 1


@dataclass(frozen=True)
class Row:
    """One row: its first cell, which heads it, and the others.

    `place` is its position among rows with the same head: ``starts`` or ``again``; empty where there are no groups.
    """

    kind: str
    place: str
    cells: list[Cell]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    name, title : str
        The name of its saved file, and its title for screen readers.
    columns : mapping of str to Column
        By the frame's names, in their order.
    frame : pandas.DataFrame
    grouped : bool
        Rows that have the same head as the one above belong together.
    css, caption : str
    """

    name: str
    title: str
    columns: Mapping[str, Column]
    frame: pd.DataFrame
    grouped: bool = False
    css: str = ""
    caption: str = ""

    def __bool__(self) -> bool:
        return len(self.frame) > 0

    @property
    def rows(self) -> Iterator[Row]:
        """Its rows as text. In a row of kind ``published`` the head takes the cells up to the first number."""
        above, text_columns = None, next((i for i, c in enumerate(self.columns.values()) if c.numeric), 1)
        for values in self.frame.to_dict("records"):
            kind, place = _text(values.get("row.kind")), ""
            cells = [_cell(values, name, column) for name, column in self.columns.items()]
            if kind == "published":
                cells[:text_columns] = [Cell(cells[0].text, span=text_columns)]
            elif self.grouped:
                place = "again" if cells[0].text == above else "starts"
            yield Row(kind, place, cells)
            above = cells[0].text

    def markdown(self) -> str:
        """Return the table in Markdown, with notes behind their values."""
        heads = [column.title.replace("\n", " ") for column in self.columns.values()]
        rules = ["---:" if column.numeric else "---" for column in self.columns.values()]
        lines = [heads, rules]
        for row in self.rows:
            texts = [f"[{cell.text}]({cell.link})" if cell.link else cell.text for cell in row.cells]
            lines.append([f"{t} {c.note}".rstrip() for t, c in zip(texts, row.cells, strict=True)])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def table(name: str, title: str, columns: Mapping[str, Column], rows: Sequence[Mapping[str, Any]], **how: Any) -> Table:
    """Return a `Table` of rows by their columns' names; what a row lacks is missing. `how` sets further fields."""
    frame = pd.DataFrame(list(rows), dtype=object)  # otherwise an integer beside a missing value becomes a float
    return Table(name, title, columns, frame.reindex(columns=list(dict.fromkeys([*columns, *frame]))), **how)


def _cell(values: Mapping[str, Any], name: str, column: Column) -> Cell:
    value = values[name]
    note, kind, link = (_text(values.get(f"{name}.{part}")) for part in ("note", "kind", "link"))
    text = "" if value == "" else NONE if _missing(value) else column.show(value)
    return Cell(text, note, kind, link, column.css)


def _text(value: Any) -> str:
    return "" if _missing(value) else str(value)


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and pd.isna(value))
