"""The pictures in the report: the test images with the largest and smallest binarization gap, by every network."""

from __future__ import annotations

from collections.abc import Sequence
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
from pipeline.evaluation.protocol import Image
from pipeline.files import write_image, write_json
from pipeline.reading import REMEDY, by_backend, read_csv
from pipeline.records import PictureRecord, ScoreRow


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


def write_pictures(folder: Path, images: PreparedSet, scale: int, pairs: Sequence[Pair]) -> None:
    """Write the images of `extremes`, upscaled by every network, and replace the content of `folder`.

    ``pictures.json`` lists them. Each image has a folder (``largest``, ``smallest``) with ``hr.png``, ``bicubic.png``
    and, for every model, ``<model>-float.png`` and ``<model>-binary.png`` by PyTorch and ``<model>-int8.png``, the
    binary network in the engine with int8 activations.

    Raises
    ------
    InputError
        If a network is missing or malformed, or the scores are not of this set.
    """
    chosen = extremes(pairs)
    for image in chosen.values():
        if image not in images.names:
            raise InputError(f"{images.folder}: lacks the evaluated image {image}; run `dvc repro evaluate zoo`")
    indices = {choice: images.names.index(image) for choice, image in chosen.items()}
    with atomic_folder(folder) as fresh:
        for choice, index in indices.items():
            _save(images.hr(index, scale), fresh / choice / "hr.png")
            _save(imresize(images.lr(index, scale), scale), fresh / choice / "bicubic.png")
        for pair in pairs:
            real, binary = upscalers(pair.real), upscalers(pair.binary)
            backends = {"float": real["torch"], "binary": binary["torch"], "int8": binary["engine_int8"]}
            for choice, index in indices.items():
                for kind, upscale in backends.items():
                    _save(upscale(images.lr(index, scale)), fresh / choice / f"{pair.model}-{kind}.png")
        records = [
            PictureRecord(choice, image, {pair.model: pair.gaps[image] for pair in pairs})
            for choice, image in chosen.items()
        ]
        write_json(fresh / "pictures.json", [asdict(record) for record in records])


def _save(image: Image, path: Path) -> None:
    write_image(path, Pillow.fromarray(image), "PNG", compress_level=1)  # three times as fast as by default
