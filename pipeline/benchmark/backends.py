"""One way of running a network on one input, or why it is missing here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from numpy.typing import NDArray


@dataclass(frozen=True)
class Backend:
    """A network ready to run on one input.

    Attributes
    ----------
    run : callable without arguments
        Runs it once and gives the output, float32 of shape (C, H, W).
    precision : str
        What its convolutions were really computed in.
    """

    run: Callable[[], NDArray]
    precision: str


class UnavailableError(Exception):
    """Why a backend cannot run here, in one line."""


def optional(name: str) -> ModuleType:
    """Import a package of the ``peers`` extra.

    Raises
    ------
    UnavailableError
        If it is not installed, or cannot be imported.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UnavailableError(f"{error.name} is not installed: pip install 'binsr[peers]'") from error
    except (ImportError, OSError) as error:
        raise UnavailableError(f"{name} cannot be imported ({one_line(error)})") from error


def one_line(error: Exception) -> str:
    """The first line of what an error says."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
