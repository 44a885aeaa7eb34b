"""What an interrupted verification has found, for the next one with the same code."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

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

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def __getitem__(self, key: str) -> Found:
        return self._found[key]

    def keep(self, key: str, found: Found) -> None:
        """Keep what was found."""
        self._found[key] = found
        self._write()

    def forget(self, keys: Collection[str]) -> None:
        """Forget some; what a verification of more had found stays."""
        self._found = {key: found for key, found in self._found.items() if key not in keys}
        if self._found:
            self._write()
        else:
            self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        if self._commit is not None:
            write_json(self._path, {"commit": self._commit, "found": self._found})
