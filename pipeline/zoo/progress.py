"""What an interrupted verification has found, for the next one with the same code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.files import write_json
from pipeline.provenance import environment
from pipeline.zoo.scores import Means

Found = Mapping[str, Means]  # by backend


class Progress:
    """Results by key, kept in a file as they come.

    Those that were found at another commit are left out. Outside a git checkout, or where code was changed since its
    commit, nothing is kept: there is no telling whether the code is the same.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        here = environment()
        self._commit = None if here["dirty"] else here["commit"]
        self._found: dict[str, Found] = {}
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            if self._commit is not None and held["commit"] == self._commit:
                self._found = dict(held["found"])
        except (OSError, ValueError, LookupError, TypeError):
            pass  # it only ever saves time
        self.restored = len(self._found)
        self._given: set[str] = set()

    def get(self, key: str, find: Callable[..., Found], *arguments: Any) -> Found:
        """Give what was found before, or find it, by `find` of the arguments, and keep it."""
        self._given.add(key)
        if key not in self._found:
            self._found[key] = find(*arguments)
            self._keep()
        return self._found[key]

    def finish(self) -> None:
        """Forget what was given; what a verification of more had found stays."""
        self._found = {key: found for key, found in self._found.items() if key not in self._given}
        if self._found:
            self._keep()
        else:
            self._path.unlink(missing_ok=True)

    def _keep(self) -> None:
        if self._commit is not None:
            write_json(self._path, {"commit": self._commit, "found": self._found})
