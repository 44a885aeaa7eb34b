"""A backend: a network ready to run on one input, or the reason why it cannot run here."""

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
        Runs the network once and returns the output, float32 of shape (C, H, W).
    precision : str
        The number format in which its convolutions are actually computed.
    """

    run: Callable[[], NDArray]
    precision: str


class UnavailableError(Exception):
    """A backend cannot run here; the message is the reason, in one line."""


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
    """Return the first line of an error's message, or its type if the message is empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
