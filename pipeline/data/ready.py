"""Image sets for commands that run without DVC."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock

from pipeline.data.preparation import prepare
from pipeline.data.prepared import PreparedSet
from pipeline.data.registry import dataset
from pipeline.runs import SCALES, prepared_folder, raw_folder


def ready(name: str, mirror: str | None = None) -> PreparedSet:
    """Open a prepared set with all scales; fetch and prepare it first if it is missing.

    Parameters
    ----------
    name : str
        Name of a set in the registry.
    mirror : str, optional
        See `pipeline.data.download.fetch`.
    """
    folder = prepared_folder(name)
    if (opened := _opened(folder)) is not None:
        return opened
    from pipeline.data.download import fetch  # heavy imports, not needed if the set is there

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{name}.lock")):  # several processes may miss it at once
        if (opened := _opened(folder)) is None:
            fetch(dataset(name), raw_folder(name), mirror)
            prepare(raw_folder(name), folder, SCALES)
    return opened or PreparedSet.open(folder)


def _opened(folder: Path) -> PreparedSet | None:
    """Open a prepared set, if it is there with all scales."""
    if not (folder / "index.json").exists():
        return None
    opened = PreparedSet.open(folder)
    return opened if set(SCALES) <= set(opened.scales) else None
