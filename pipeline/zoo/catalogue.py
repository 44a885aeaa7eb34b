"""The catalogue of the zoo: its packed networks, and the index that lists them with their hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.files import write_json
from pipeline.packed import read
from pipeline.records import Quality
from pipeline.runs import Run, Weights, is_brief

ZOO = Path("zoo")
FORMAT = 1
RESULTS = "results.json"
IMPORTED = "imported"  # variant and profile of networks that others trained
LONG = "long"  # variant of pairs that are trained alike, for longer than the profile's
TEST_SETS = ("Set5", "Set14", "B100", "Urban100")  # on which networks are published
FOR_USE = ("", LONG)  # variants of networks to upscale images with; the others serve to compare trainings
Means = dict[str, dict[str, Quality]]  # by test set and backend


@dataclass(frozen=True)
class PublishedScores:
    """The published scores of a network or of bicubic upscaling, with the SHA-256 of its file (None for bicubic)."""

    sha256: str | None
    sets: Means


@dataclass(frozen=True)
class PublishedNetwork:
    """A published network.

    Attributes
    ----------
    name, file : str
        `file` is relative to the zoo's folder.
    sha256 : str
    bytes : int
    model, scale, weights, variant
        See `pipeline.runs.Run`.
    training : dict
        The training record that `pipeline.zoo.train` wrote into the file.
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
        """The origin of a network that others trained: file, SHA-256, address and licence."""
        return self.training.get(IMPORTED)

    @property
    def iterations(self) -> int | None:
        """The number of training iterations, if known."""
        return self.training.get("iterations")

    @property
    def trained(self) -> str:
        """The number of training iterations in words, as `24,000`."""
        return "imported" if self.iterations is None else f"{self.iterations:,}"

    @property
    def short(self) -> bool:
        """Whether its training was too short for a comparison with the paper's numbers."""
        return self.iterations is not None and is_brief(self.model, self.iterations)

    @property
    def start(self) -> dict[str, str] | None:
        """The name and SHA-256 of the float network whose weights it started from."""
        return self.training["plan"]["start"]

    @property
    def profile(self) -> str:
        """The profile that it was trained with."""
        return self.training["plan"]["profile"]

    def path(self, zoo: Path = ZOO) -> Path:
        """Return the path of its file, and check the file.

        Raises
        ------
        InputError
            If the file is missing or its hash differs from the index.
        """
        path = zoo / self.file
        if not path.is_file():
            raise InputError(f"{path}: missing; restore it with git, or remove it from {zoo / 'index.json'}")
        if sha256(path.read_bytes()).hexdigest() != self.sha256:
            raise InputError(f"{path}: its SHA-256 differs from {zoo / 'index.json'}; restore it with git")
        return path


Pair = tuple[PublishedNetwork, PublishedNetwork]  # a float network and its binary twin


def read_index(zoo: Path = ZOO) -> list[PublishedNetwork]:
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
            raise InputError(f"{path}: format: is {index['format']} instead of {FORMAT}; update this program")
        return [PublishedNetwork(**entry) for entry in index["models"]]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path}: is not the index of a zoo; run `python -m pipeline.zoo.publish`") from error


def chosen_networks(zoo: Path, names: Sequence[str] | None) -> list[PublishedNetwork]:
    """Return the named networks, by default a binary one of each model and scale, without a variant if there is one.

    Raises
    ------
    InputError
        If a name is not published.
    """
    published = {network.name: network for network in read_index(zoo)}
    if unknown := [name for name in names or () if name not in published]:
        raise InputError(f"--models: {unknown[0]} is not published; see binsr models")
    if names:
        return [published[name] for name in names]
    binary = [network for network in published.values() if network.weights == "binary"]
    ordered = sorted(binary, key=lambda network: network.variant, reverse=True)  # the one without a variant last
    return sorted({(each.model, each.scale): each for each in ordered}.values(), key=lambda each: each.name)


def read_published(zoo: Path = ZOO) -> dict[str, PublishedScores]:
    """Read the published scores, by network name or ``bicubic-x<scale>``.

    Raises
    ------
    InputError
        If the file is missing or malformed.
    """
    path = zoo / RESULTS
    try:
        methods = json.loads(path.read_text(encoding="utf-8"))["methods"]
        return {name: _published_scores(**entry) for name, entry in methods.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is not a results file of a zoo; run `python -m pipeline.zoo.publish`") from error


def write_published(zoo: Path, published: Mapping[str, PublishedScores]) -> None:
    """Write the published scores; see `read_published`."""
    methods = {name: asdict(scores) for name, scores in published.items()}
    write_json(zoo / RESULTS, {"format": FORMAT, "methods": methods})


def scores_of(network: PublishedNetwork, published: Mapping[str, PublishedScores]) -> Means:
    """Return a network's published scores by test set; none if they belong to another file of this name."""
    entry = published.get(network.name)
    return entry.sets if entry is not None and entry.sha256 == network.sha256 else {}


def _published_scores(sha256: str | None, sets: Mapping[str, Any]) -> PublishedScores:
    means = {
        name: {backend: Quality(**values) for backend, values in backends.items()} for name, backends in sets.items()
    }
    return PublishedScores(sha256, means)


def twin_of(model: PublishedNetwork, models: Sequence[PublishedNetwork]) -> PublishedNetwork | None:
    """Find the float twin of a binary network: one trained alike, or the imported one that it started from.

    None if there is no such network, and for a float network.
    """
    name = Run(model.model, model.scale, "float", model.variant).name
    real = next((other for other in models if other.name == name and model.weights == "binary"), None)
    if real is None:
        return None
    if real.imported:
        return real if model.start is not None and model.start["sha256"] == real.sha256 else None
    return real if _terms(real) == _terms(model) else None


def _terms(model: PublishedNetwork) -> dict[str, Any]:
    """Return the settings that two networks must share to count as trained alike: all but the binarization."""
    plan = model.training["plan"]
    sizes = {key: value for key, value in plan.get("network", {}).items() if key not in ("scale_rule", "scope")}
    return {**plan, "network": sizes}


def pairs(models: Sequence[PublishedNetwork]) -> list[Pair]:
    """Return the pairs of a float network and its binary twin: of each network the main, the long and the imported one.

    The main pair has no variant. While it is missing, the shorter pair of seed 0 (see `seed_pairs`) stands in for it.
    """
    by_variant = {(m.model, m.scale, m.variant): (real, m) for m in models if (real := twin_of(m, models)) is not None}
    networks = list(dict.fromkeys((model, scale) for model, scale, _ in by_variant))
    main = [by_variant.get((*network, "")) or by_variant.get((*network, "seed0")) for network in networks]
    further = [by_variant.get((*network, variant)) for variant in (LONG, IMPORTED) for network in networks]
    return [pair for pair in (*main, *further) if pair is not None]


def compared_pairs(models: Sequence[PublishedNetwork]) -> list[Pair]:
    """Return the pairs, and those from further seeds."""
    every = [*pairs(models), *(pair for several in seed_pairs(models).values() for pair in several)]
    return list({binary.name: (real, binary) for real, binary in every}.values())


def measured_pairs(models: Sequence[PublishedNetwork]) -> list[Pair]:
    """Return the pairs that a run scores and times: of each network the main one, or the imported one alone."""
    first: dict[tuple[str, int], Pair] = {}
    for real, binary in pairs(models):
        first.setdefault((real.model, real.scale), (real, binary))
    return list(first.values())


def seed_pairs(
    models: Sequence[PublishedNetwork],
) -> dict[tuple[str, int], list[Pair]]:
    """Give, by model and scale, the pairs that differ only in their seed; of several plans, only the last counts."""
    by_network: dict[tuple[str, int], list[Pair]] = {}
    for model in models:
        if model.variant.startswith("seed") and (real := twin_of(model, models)) is not None:
            alike = by_network.setdefault((model.model, model.scale), [])
            if alike and _terms(alike[0][0]) | {"seed": None} != _terms(real) | {"seed": None}:
                alike.clear()
            alike.append((real, model))
    return by_network


def write_index(zoo: Path = ZOO) -> list[PublishedNetwork]:
    """Write the index of the networks in the zoo's folder, and return it."""
    models = [_model(path) for path in zoo.glob("*.safetensors")]
    models.sort(key=lambda m: (m.variant, m.model, m.scale, m.weights != "float"))
    write_json(zoo / "index.json", {"format": FORMAT, "models": [asdict(model) for model in models]})
    return models


def read_training(path: Path) -> dict[str, Any]:
    """Read the training record that `pipeline.zoo.train` wrote into a network of the zoo.

    Raises
    ------
    InputError
        If the file cannot be read or was not made by `pipeline.zoo.train`.
    """
    training = read(path).metadata.get("training") or {}
    if missing := {"variant", "plan"} - training.keys():
        raise InputError(
            f"{path}: metadata.training.{min(missing)}: missing; keep only networks from `make train` here"
        )
    return training


def _model(path: Path) -> PublishedNetwork:
    packed, training = read(path), read_training(path)
    data = path.read_bytes()
    return PublishedNetwork(
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
