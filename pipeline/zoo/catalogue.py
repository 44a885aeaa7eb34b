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
CONTROL = "continued"  # the variant of float networks that were trained on as their binary twins were
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
    def short(self) -> bool:
        """Whether it was trained too briefly to be set beside its paper's numbers."""
        return is_brief(self.model, self.training["iterations"])

    @property
    def start(self) -> dict[str, str] | None:
        """The name and SHA-256 of the float network that it was trained on from."""
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
    """Find the float network that a binary one is held against: of its seed and profile, the one that it started from.

    None for float networks, and for a binary one whose float network was replaced since.
    """
    if model.weights == "float":
        return None
    name = Run(model.model, model.scale, "float", model.variant if model.variant.startswith("seed") else "").name
    found = next((other for other in models if other.name == name and other.profile == model.profile), None)
    if found is None or (model.start is not None and model.start["sha256"] != found.sha256):
        return None
    return found


def pairs(models: Sequence[Model]) -> list[tuple[Model, Model]]:
    """Give every float network with its binary twin; variants are left out."""
    binary = [model for model in models if model.weights == "binary" and not model.variant]
    return [(twin, model) for model in binary if (twin := twin_of(model, models)) is not None]


def control_of(model: Model, models: Sequence[Model]) -> Model | None:
    """Find the float network that was trained on for as long as a binary one.

    As long is from the same start by as many iterations, or, for a binary network from scratch, as many in all.
    """
    name = Run(model.model, model.scale, "float", CONTROL).name
    found = next((other for other in models if other.name == name), None)
    if model.weights == "float" or found is None:
        return None
    if (found.profile, found.training["seed"]) != (model.profile, model.training["seed"]):
        return None
    done = model.training["iterations"]
    if model.start is None:
        before = iterations_before(found, models)
        return found if before is not None and before + found.training["iterations"] == done else None
    return found if (found.start, found.training["iterations"]) == (model.start, done) else None


def controls(models: Sequence[Model]) -> list[tuple[Model, Model]]:
    """Give the float networks that were trained on for as long as the binary twins of `pairs`, each with that twin."""
    return [(found, model) for _, model in pairs(models) if (found := control_of(model, models)) is not None]


def fair_pairs(models: Sequence[Model]) -> list[tuple[Model, Model]]:
    """Give the binary networks of `pairs`, each with its control, or with its float twin where there is no control."""
    return [(control_of(binary, models) or real, binary) for real, binary in pairs(models)]


def iterations_before(model: Model, models: Sequence[Model]) -> int | None:
    """Count the iterations of the float network that a network was trained on from; 0 if it was from scratch.

    None if that network was replaced since.
    """
    if model.start is None:
        return 0
    return next((other.training["iterations"] for other in models if other.sha256 == model.start["sha256"]), None)


def iterations(model: Model, models: Sequence[Model]) -> str:
    """Say the iterations of the float network that a network was trained on from, and its own, as `8,000 + 2,500`."""
    before = iterations_before(model, models)
    own = f"{model.training['iterations']:,}"
    return own if before == 0 else f"{'?' if before is None else f'{before:,}'} + {own}"


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
