"""The zoo's folder: its packed networks and the index that lists them with their hashes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.files import write_json
from pipeline.packed import read
from pipeline.runs import Run, Weights, is_brief

ZOO = Path("zoo")
FORMAT = 1
IMPORTED = "imported"  # the variant, and the profile, of networks that others trained
Published = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Model:
    """A published network.

    Attributes
    ----------
    name, file : str
        `file` lies in the zoo's folder.
    sha256 : str
    bytes : int
    model, scale, weights, variant
        See `pipeline.runs.Run`.
    training : dict
        How it was trained: what `pipeline.zoo.train` wrote into the file.
    """

    name: str
    file: str
    sha256: str
    bytes: int
    model: str
    scale: int
    weights: Weights
    variant: str
    training: dict[str, Any]

    @property
    def imported(self) -> dict[str, str] | None:
        """Where a network that others trained comes from: file, SHA-256, address and licence."""
        return self.training.get(IMPORTED)

    @property
    def iterations(self) -> int | None:
        """Its training iterations, where they are known."""
        return self.training.get("iterations")

    @property
    def short(self) -> bool:
        """Whether it was trained too briefly to be set beside its paper's numbers."""
        return self.iterations is not None and is_brief(self.model, self.iterations)

    @property
    def start(self) -> dict[str, str] | None:
        """The name and SHA-256 of the float network whose weights it started from."""
        return self.training["plan"]["start"]

    @property
    def profile(self) -> str:
        """The profile that says how it was trained."""
        return self.training["plan"]["profile"]

    def path(self, zoo: Path = ZOO) -> Path:
        """Where its file is.

        Raises
        ------
        InputError
            If the file is missing or is not the one that the index lists.
        """
        path = zoo / self.file
        if not path.is_file():
            raise InputError(f"{path}: missing; restore it with git, or remove it from {zoo / 'index.json'}")
        if sha256(path.read_bytes()).hexdigest() != self.sha256:
            raise InputError(f"{path}: its SHA-256 is not that of {zoo / 'index.json'}; restore it with git")
        return path


def read_index(zoo: Path = ZOO) -> list[Model]:
    """List the published networks.

    Raises
    ------
    InputError
        If the index is missing or malformed.
    """
    path = zoo / "index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        if index["format"] != FORMAT:
            raise InputError(f"{path}: format: {index['format']} instead of {FORMAT}; update this program")
        return [Model(**entry) for entry in index["models"]]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path}: is not the index of a zoo; run `python -m pipeline.zoo.publish`") from error


def read_published(zoo: Path = ZOO) -> Published:
    """Read what was published.

    Returns
    -------
    dict
        By a network's name, or ``bicubic-x<scale>``: ``sha256`` of its file (None for bicubic) and ``sets``, set to
        backend to means.

    Raises
    ------
    InputError
        If the file is missing or malformed.
    """
    path = zoo / "results.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["methods"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path}: is not a zoo's results; run `python -m pipeline.zoo.publish`") from error


def scores_of(model: Model, published: Published) -> dict[str, Any]:
    """Give a network's published scores by test set; none where they are those of another file of its name."""
    held = published.get(model.name, {})
    return held.get("sets", {}) if held.get("sha256") == model.sha256 else {}


def twin_of(model: Model, models: Sequence[Model]) -> Model | None:
    """Find the float network on equal terms with a binary one: trained alike, or the imported one that it started from.

    None for a float network, and where there is no such network.
    """
    name = Run(model.model, model.scale, "float", model.variant).name
    real = next((other for other in models if other.name == name and model.weights == "binary"), None)
    if real is None:
        return None
    if real.imported:
        return real if model.start is not None and model.start["sha256"] == real.sha256 else None
    return real if _terms(real) == _terms(model) else None


def _terms(model: Model) -> dict[str, Any]:
    """All that two networks have in common which are trained alike but for the binarization."""
    plan = model.training["plan"]
    sizes = {key: value for key, value in plan.get("network", {}).items() if key not in ("scale_rule", "scope")}
    return {**plan, "network": sizes}


def pairs(models: Sequence[Model]) -> list[tuple[Model, Model]]:
    """Give every float network with its binary twin: of each network the pair without a variant, and the imported one.

    While the first is not there yet, that from seed 0 at a quarter of the length (see `seed_pairs`) stands in for it.
    """
    found = {(m.model, m.scale, m.variant): (real, m) for m in models if (real := twin_of(m, models)) is not None}
    networks = list(dict.fromkeys((model, scale) for model, scale, _ in found))
    whole = [found.get((*network, "")) or found.get((*network, "seed0")) for network in networks]
    return [pair for pair in (*whole, *(found.get((*network, IMPORTED)) for network in networks)) if pair is not None]


def seed_pairs(models: Sequence[Model]) -> dict[tuple[str, int], list[tuple[Model, Model]]]:
    """Give, by model and scale, the pairs that differ in their seed alone; of several plans those of the last."""
    found: dict[tuple[str, int], list[tuple[Model, Model]]] = {}
    for model in models:
        if model.variant.startswith("seed") and (real := twin_of(model, models)) is not None:
            alike = found.setdefault((model.model, model.scale), [])
            if alike and _terms(alike[0][0]) | {"seed": None} != _terms(real) | {"seed": None}:
                alike.clear()
            alike.append((real, model))
    return found


def write_index(zoo: Path = ZOO) -> list[Model]:
    """List the networks that lie in the zoo, and write the index."""
    models = [_model(path) for path in zoo.glob("*.safetensors")]
    models.sort(key=lambda m: (m.variant, m.model, m.scale, m.weights != "float"))
    write_json(zoo / "index.json", {"format": FORMAT, "models": [asdict(model) for model in models]})
    return models


def read_training(path: Path) -> dict[str, Any]:
    """Read how a network of the zoo was trained, as `pipeline.zoo.train` wrote it.

    Raises
    ------
    InputError
        If the file cannot be read or was made otherwise.
    """
    training = read(path).metadata.get("training", {})
    if missing := {"variant", "plan"} - training.keys():
        raise InputError(f"{path}: no {min(missing)} in its record; only networks of `make train` belong here")
    return training


def _model(path: Path) -> Model:
    packed, training = read(path), read_training(path)
    data = path.read_bytes()
    return Model(
        path.stem,
        path.name,
        sha256(data).hexdigest(),
        len(data),
        packed.config["model"],
        packed.config["scale"],
        packed.config["weights"],
        training["variant"],
        training,
    )
