"""The pictures in the report: the test images with the largest and smallest binarization gap, by every network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image as Pillow

from pipeline.data.folders import atomic_folder
from pipeline.data.prepared import PreparedSet
from pipeline.data.resize import imresize
from pipeline.errors import InputError
from pipeline.evaluation.backends import upscalers
from pipeline.evaluation.protocol import Image, score
from pipeline.files import write_image, write_json
from pipeline.reading import REMEDY, by_backend, read_csv
from pipeline.records import PictureRecord, Score, ScoreRow

Backend = Literal["torch", "engine_int8"]


@dataclass(frozen=True)
class Pair:
    """A float network and its binary twin.

    Attributes
    ----------
    model : str
    real, binary : Path
        Packed networks.
    gaps : dict of str to float
        The binarization gap on every image of the set: float minus binary PSNR-Y by PyTorch, in dB.
    """

    model: str
    real: Path
    binary: Path
    gaps: dict[str, float]


class Upscaled:
    """The images of a prepared set, upscaled at one scale by packed networks, by PyTorch or by the engine in int8.

    Parameters
    ----------
    images : PreparedSet
    scale : int
    most_bytes : int
        Upscaled images up to this size in all are kept, and not made again when they are asked for again.
    """

    def __init__(self, images: PreparedSet, scale: int, most_bytes: int = 0) -> None:
        self.images, self.scale = images, scale
        self._space = most_bytes
        self._kept: dict[tuple[Path, Backend, int], Image] = {}
        self._network: tuple[Path, Mapping[str, Callable[[Image], Image]]] | None = None

    def __call__(self, path: Path, backend: Backend, index: int) -> Image:
        """Return image `index`, upscaled by the network in a file."""
        key = (path, backend, index)
        if key in self._kept:
            return self._kept[key]
        if self._network is None or self._network[0] != path:
            self._network = path, upscalers(path, ("engine_int8",))
        image = self._network[1][backend](self.images.lr(index, self.scale))
        if image.nbytes <= self._space:
            self._space -= image.nbytes
            self._kept[key] = image
        return image

    def scores(self, path: Path, backend: Backend) -> list[Score]:
        """Score every image of the set."""
        return [
            score(name, self(path, backend, index), self.images.hr(index, self.scale), self.scale)
            for index, name in enumerate(self.images.names)
        ]


def torch_scores(path: Path, method: str = "") -> dict[str, ScoreRow]:
    """Read the score of each image, run by PyTorch, from a table of scores; only the rows of `method` if given.

    Raises
    ------
    InputError
        If the table is missing or malformed, or has no such scores.
    """
    rows = read_csv(path, ScoreRow)
    scores = by_backend(row for row in rows if method in ("", row.method)).get("torch")
    if scores is None:
        raise InputError(f"{path}: torch: no scores{f' of {method}' if method else ''}; delete it and {REMEDY}")
    return scores


def extremes(pairs: Sequence[Pair]) -> dict[Literal["largest", "smallest"], str]:
    """Name the images with the ``largest`` and the ``smallest`` gap, by the mean over the pairs.

    A set of one image has only the largest.
    """
    mean = {image: float(np.mean([pair.gaps[image] for pair in pairs])) for image in pairs[0].gaps}
    ranked = sorted(mean, key=lambda image: -mean[image])
    return {"largest": ranked[0]} if len(ranked) == 1 else {"largest": ranked[0], "smallest": ranked[-1]}


def write_pictures(folder: Path, upscaled: Upscaled, pairs: Sequence[Pair]) -> None:
    """Write the images of `extremes`, upscaled by every network, and replace the content of `folder`.

    ``pictures.json`` lists them. Each image has a folder (``largest``, ``smallest``) with ``hr.png``, ``bicubic.png``
    and, for every model, ``<model>-float.png`` and ``<model>-binary.png`` by PyTorch and ``<model>-int8.png``, the
    binary network in the engine with int8 activations.

    Raises
    ------
    InputError
        If a network is missing or malformed, or the scores are not of this set.
    """
    images, scale, chosen = upscaled.images, upscaled.scale, extremes(pairs)
    for image in chosen.values():
        if image not in images.names:
            raise InputError(f"{images.folder}: lacks the evaluated image {image}; run `dvc repro evaluate zoo`")
    indices = {choice: images.names.index(image) for choice, image in chosen.items()}
    with atomic_folder(folder) as fresh:
        for choice, index in indices.items():
            _save(images.hr(index, scale), fresh / choice / "hr.png")
            _save(imresize(images.lr(index, scale), scale), fresh / choice / "bicubic.png")
        for pair in pairs:
            made: dict[str, tuple[Path, Backend]] = {
                "float": (pair.real, "torch"),
                "binary": (pair.binary, "torch"),
                "int8": (pair.binary, "engine_int8"),
            }
            for kind, (path, backend) in made.items():
                for choice, index in indices.items():
                    _save(upscaled(path, backend, index), fresh / choice / f"{pair.model}-{kind}.png")
        records = [
            PictureRecord(choice, image, {pair.model: pair.gaps[image] for pair in pairs})
            for choice, image in chosen.items()
        ]
        write_json(fresh / "pictures.json", [asdict(record) for record in records])


def _save(image: Image, path: Path) -> None:
    write_image(path, Pillow.fromarray(image), "PNG", compress_level=1)  # three times as fast as by default
