"""Image sets for commands that run without DVC."""

from __future__ import annotations

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
    if (folder / "index.json").exists() and set(SCALES) <= set((opened := PreparedSet.open(folder)).scales):
        return opened
    from pipeline.data.download import fetch  # heavy imports, not needed if the set is there

    fetch(dataset(name), raw_folder(name), mirror)
    prepare(raw_folder(name), folder, SCALES)
    return PreparedSet.open(folder)
