"""Find a network by its published name or in a packed file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from pipeline.packed import read
from pipeline.runs import MODELS, Run
from pipeline.zoo.catalogue import FOR_USE, PublishedNetwork, read_index, read_published, scores_of

DEFAULT_SCALE = 4


def zoo_folder() -> Path:
    """Return the folder of the published networks: beside the package, in a checkout and in an installation."""
    return Path(__file__).resolve().parents[2] / "zoo"


@dataclass(frozen=True)
class SelectedNetwork:
    """A network to run: a published one, or a packed file.

    Attributes
    ----------
    name : str
        Its published name, or the name of its file.
    path : Path
        The packed file.
    scale : int
    published : PublishedNetwork, optional
        Its entry in the zoo's index; None for a file.
    """

    name: str
    path: Path
    scale: int
    published: PublishedNetwork | None = None


def find_network(model: str | None, scale: int | None = None) -> SelectedNetwork:
    """Find a network by name, by file, or by default.

    Parameters
    ----------
    model : str, optional
        A name in the zoo or a packed file; by default the published binary network for the scale with the highest
        PSNR-Y, as a mean over the test sets.
    scale : {2, 3, 4}, optional
        The scale that the network must have. Without `model` and `scale`, `DEFAULT_SCALE`.

    Raises
    ------
    InputError
        If there is no such network, it has another scale, or its file cannot be read.
    """
    zoo = zoo_folder()
    published = read_index(zoo)
    name = model or _default(zoo, published, scale or DEFAULT_SCALE)
    network = next((SelectedNetwork(m.name, m.path(zoo), m.scale, m) for m in published if m.name == name), None)
    if network is None:
        path = Path(name)
        if not path.is_file():
            names = ", ".join(m.name for m in published)
            raise InputError(
                f"{name}: no such file or published network; name one of {names}, or a packed .safetensors file"
            )
        network = SelectedNetwork(path.name, path, read(path).config.get("scale", 0))
    if scale not in (None, network.scale):
        raise InputError(
            f"--scale: {network.name} is for scale {network.scale}, not {scale}; {_of_scale(published, scale)}"
        )
    return network


def _default(zoo: Path, published: Sequence[PublishedNetwork], scale: int) -> str:
    runs = [Run(model, scale, "binary", variant) for model in MODELS for variant in FOR_USE]
    candidates = [network for run in runs for network in published if network.name == run.name]
    if not candidates:
        names = [run.name for run in runs if not run.variant]
        raise InputError(
            f"--scale: no binary network is published for scale {scale} ({', '.join(names)}); "
            f"{_of_scale(published, scale)}; name a network or a packed file with --model"
        )
    published_scores = read_published(zoo)
    levels = {
        network.name: {
            name: by["torch"].psnr_y for name, by in scores_of(network, published_scores).items() if "torch" in by
        }
        for network in candidates
    }
    scored = {name: by_set for name, by_set in levels.items() if by_set} or levels  # the others are not scored yet
    on_all = set.intersection(*map(set, scored.values()))
    return max(scored, key=lambda name: sum(scored[name][each] for each in on_all))


def _of_scale(published: Sequence[PublishedNetwork], scale: int | None) -> str:
    names = [model.name for model in published if model.scale == scale]
    return f"for scale {scale} there is {', '.join(names) or 'none'}"
