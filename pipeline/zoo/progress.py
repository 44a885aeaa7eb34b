"""The scores of an interrupted verification, for the next one with the same code, packages and processor."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path

from pipeline.files import write_json
from pipeline.provenance import environment
from pipeline.records import Quality


class Progress:
    """Means by backend, by a key for each task, written to a file as they come.

    Those of another commit, processor or version of a package are ignored. Nothing is kept outside a git checkout, or
    if code has changed since its commit, since there is no telling whether the code is the same.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        current = environment()
        known = current["commit"] is not None and not current["dirty"]
        self._made_by = {key: current[key] for key in ("commit", "cpu", "packages")} if known else None
        self._means: dict[str, Mapping[str, Quality]] = {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if self._made_by is not None and content["made_by"] == self._made_by:
                self._means = {
                    key: {backend: Quality(**values) for backend, values in means.items()}
                    for key, means in content["means"].items()
                }
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            pass  # it only ever saves time

    def __contains__(self, key: str) -> bool:
        return key in self._means

    def __getitem__(self, key: str) -> Mapping[str, Quality]:
        return self._means[key]

    def keep(self, key: str, means: Mapping[str, Quality]) -> None:
        """Keep the means of a task."""
        self._means[key] = means
        self._write()

    def forget(self, keys: Collection[str]) -> None:
        """Forget some tasks; those of a larger verification stay."""
        self._means = {key: means for key, means in self._means.items() if key not in keys}
        if self._means:
            self._write()
        else:
            self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        if self._made_by is not None:
            means = {
                key: {name: asdict(quality) for name, quality in task.items()} for key, task in self._means.items()
            }
            write_json(self._path, {"made_by": self._made_by, "means": means})
