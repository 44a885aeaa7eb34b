"""Reading results and settings: every field is checked, and one that is wrong is named with the remedy."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML, YAMLError

from pipeline.errors import InputError
from pipeline.records import ScoreRow

T = TypeVar("T")
Scores = dict[str, dict[str, ScoreRow]]  # by backend, then by image
REMEDY = "run `dvc repro`"


def read_text(path: Path, remedy: str = REMEDY) -> str:
    """Read a file of text.

    Raises
    ------
    InputError
        If it is missing or cannot be read; says so with the `remedy`.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: missing; {remedy}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}; {remedy}") from None


def read_json(path: Path, kind: type[T], remedy: str = REMEDY) -> T:
    """Read a record of `pipeline.records`, or a collection of them.

    Raises
    ------
    InputError
        As for `read_text`, or if a field is missing or wrong.
    """
    text = read_text(path, remedy)
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        raise _malformed(path, error, f"delete it and {remedy}") from None


def read_csv(path: Path, kind: type[T], remedy: str = REMEDY) -> list[T]:
    """Read a table, a record of `kind` from each row; empty cells are None, and those of other columns are left out.

    Raises
    ------
    InputError
        As for `read_json`.
    """
    rows = csv.DictReader(read_text(path, remedy).splitlines())
    try:
        cells = [{key: value or None for key, value in row.items() if key is not None} for row in rows]
    except csv.Error as error:
        raise InputError(f"{path}: line {rows.line_num + 1}: {error}; delete it and {remedy}") from None
    rows_of = list[kind]  # type: ignore[valid-type]  # a type made at run time
    return checked(rows_of, cells, path, f"delete it and {remedy}")


def read_yaml(path: Path, remedy: str) -> Any:
    """Read YAML 1.2, as DVC reads params.yaml: 1e-3 is a number there, and a key that occurs twice is an error.

    Raises
    ------
    InputError
        As for `read_text`, or if it is not YAML.
    """
    text = read_text(path, remedy)
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError) as error:  # a ValueError is of a date or a number that is none
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())}); {remedy}") from None


def checked(kind: type[T], values: Any, where: object, remedy: str) -> T:
    """Return values, such as those of a YAML file, as a type; an `InputError` names the first field that is wrong."""
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        raise _malformed(where, error, remedy) from None


def _malformed(where: object, error: ValidationError, remedy: str) -> InputError:
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"])) or "whole file"
    return InputError(f"{where}: {field}: {first['msg']}; {remedy}")


def by_backend(rows: Iterable[ScoreRow]) -> Scores:
    """Arrange the scores of one method on one set."""
    scores: Scores = {}
    for row in rows:
        scores.setdefault(row.backend, {})[row.image] = row
    return scores
