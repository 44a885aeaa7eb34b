"""How a command-line program runs: Typer reads its arguments, and what the user can correct is said in one line."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import pairwise
from typing import Any

import typer
from typer.exceptions import TyperException

from pipeline.errors import InputError, one_line_errors


def run_program(main: Callable[..., None]) -> None:
    """Run ``python -m …`` by its function: the parameters are its options, the module's docstring is its help.

    An option with a list takes several values, ``--sets A B``.
    """
    gc.freeze()  # what was imported stays: without looking at it again, a program with PyTorch ends a second sooner
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(help=sys.modules[main.__module__].__doc__)(main)
    lists = {name for param in typer.main.get_command(app).params if param.multiple for name in param.opts}
    module = getattr(sys.modules["__main__"].__spec__, "name", main.__module__)
    with one_line_errors():
        code = invoke(app, f"python -m {module}", _repeated(sys.argv[1:], lists))
    if code is not None:  # 0 after --help, 130 when interrupted
        sys.exit(code)


def invoke(app: typer.Typer, name: str, arguments: Sequence[str] | None = None) -> Any:
    """Run a Typer program, by default with the process's own arguments, and give what its function returns.

    Raises
    ------
    InputError
        If the arguments are wrong, or one is empty, as of a shell variable that is not set.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    for before, word in pairwise(["", *arguments]):
        if not word or re.fullmatch("--[a-z-]+=", word):
            option = word.rstrip("=") or (before if before.startswith("-") else "an argument")
            raise InputError(f"{option}: is empty; give a value or leave it out; see {name} --help")
    try:
        return app(arguments, prog_name=name, standalone_mode=False)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        command = name if context is None else context.command_path
        message = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
        raise InputError(f"{message}; see {command} --help") from error


def _repeated(arguments: Iterable[str], lists: Collection[str]) -> list[str]:
    """The arguments as Typer takes them, one value to each option: ``--sets A --sets B``."""
    words, option = [], ""
    for before, word in pairwise(["", *arguments]):
        if word.startswith("-"):
            option = word if word in lists else ""
        elif option and before != option:
            words.append(option)
        words.append(word)
    return words
