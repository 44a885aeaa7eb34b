"""The report's picture comparisons: crops of the kept images as upscaled by every network, with their error maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from pipeline import labels
from pipeline.data.images import read_image
from pipeline.errors import InputError
from pipeline.files import write_image
from pipeline.metrics import luma, psnr, ssim
from pipeline.reporting.results import REMEDY, PictureRecord, Results

KINDS = {"float": "float", "binary": "binary", "int8": "engine int8"}  # the images that are kept for every model
OVERVIEW = 640  # longest side of the overview, pixels
SIDE = 320  # of a crop, HR pixels, at most; cut to a multiple of the scale
LEVELS = 32  # colours of an error map; few enough that the files stay small
WEBP_EFFORT = 50  # of 100, which makes lossless files 1.5 % smaller but takes three times as long
PERCENTILE = 99.5  # percentage of the errors within the range; larger errors have the last colour
_COLOURS = (colormaps["inferno"](np.linspace(0, 1, LEVELS))[:, :3] * 255).round().astype(np.uint8)


@dataclass(frozen=True)
class Source:
    """One crop: files below the report's folder, and how near it is to HR, as text; empty for HR itself."""

    key: str
    name: str
    crop: str
    error_map: str
    psnr_y: str = ""
    psnr_rgb: str = ""
    ssim_y: str = ""

    @property
    def scores(self) -> str:
        """The scores in one line."""
        named = {"PSNR-Y": self.psnr_y, "PSNR-RGB": self.psnr_rgb, "SSIM": self.ssim_y}
        return ", ".join(f"{name} {value}" for name, value in named.items() if value) or "the reference"


@dataclass(frozen=True)
class Comparison:
    """One image and the versions of its crop that can be compared; `left` and `right` are shown first."""

    image: str
    choice: str
    gap: str
    gaps: str
    overview: str
    overview_size: tuple[int, int]
    box: tuple[float, float, float, float]
    side: int
    error_range: int
    sources: list[Source]
    left: str
    right: str


@dataclass(frozen=True)
class Group:
    """The images of one test set at one scale."""

    test_set: str
    scale: int
    comparisons: list[Comparison]


@dataclass(frozen=True)
class Pictures:
    """The images of the published networks, and of those of this run."""

    published: list[Group]
    run: list[Group]


def make_pictures(results: Results, assets: Path) -> Pictures:
    """Write the crops, error maps and overviews of every kept image below `assets`, and return what to show.

    Raises
    ------
    InputError
        If an image is missing, unreadable or not as large as its HR image.
    """

    def groups(kept: Mapping[tuple[str, int], Sequence[PictureRecord]], stem: str, number: int) -> list[Group]:
        shown = []
        for (test_set, scale), records in kept.items():
            folder = results.image_folder / test_set / f"{stem}x{scale}"
            comparisons = []
            for record in records:
                number += 1
                comparisons.append(_comparison(folder, record, scale, assets, f"{number:02d}"))
            if records:
                shown.append(Group(test_set, scale, comparisons))
        return shown

    count = sum(len(records) for records in results.zoo_pictures.values())
    return Pictures(groups(results.zoo_pictures, "zoo/", 0), groups(results.pictures, "", count))


@dataclass(frozen=True)
class Region:
    """A square of an HR image in pixels: `top`, `left` and `side` are multiples of the scale."""

    top: int
    left: int
    side: int

    def cut(self, image: NDArray) -> NDArray:
        """Return the region of an image."""
        return image[self.top : self.top + self.side, self.left : self.left + self.side]

    def share(self, height: int, width: int) -> tuple[float, float, float, float]:
        """Return left, top, width and height in percent of an image of that size."""
        return (
            100 * self.left / width,
            100 * self.top / height,
            100 * self.side / width,
            100 * self.side / height,
        )


def best_region(gain: NDArray, scale: int) -> Region:
    """Return the square region on the LR grid with the largest mean of `gain`; small images have a smaller one.

    Parameters
    ----------
    gain : (H, W) array
        What to maximise, such as the squared error of bicubic minus that of a network.
    scale : int
        Positions and the side are multiples of it.
    """
    height, width = gain.shape
    side = min(SIDE, height, width) // scale * scale
    sums = np.pad(gain, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    boxes = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    boxes = boxes[::scale, ::scale]
    row, column = np.unravel_index(int(boxes.argmax()), boxes.shape)
    return Region(int(row) * scale, int(column) * scale, side)


def error_range(errors: Sequence[NDArray]) -> int:
    """Return the error that the last colour stands for, the same for all of `errors`: whole levels of 255, at least 1.

    Parameters
    ----------
    errors : sequence of arrays
        |SR − HR| of luma.
    """
    return max(1, math.ceil(np.percentile(np.stack(errors), PERCENTILE)))


def error_map(error: NDArray, top: float) -> Image.Image:
    """Return an array of errors as a picture with a palette; errors of `top` and more have the last colour."""
    levels = np.clip(error / top * (LEVELS - 1), 0, LEVELS - 1).round().astype(np.uint8)
    picture = Image.fromarray(levels)
    picture.putpalette(_COLOURS.tobytes())  # turns the grey levels into indices
    return picture


def gradient() -> str:
    """Return the colour map as a CSS gradient from left to right."""
    chosen = _COLOURS[np.linspace(0, LEVELS - 1, 9).round().astype(int)]
    return f"linear-gradient(to right, {', '.join('#' + bytes(colour).hex() for colour in chosen)})"


def _comparison(folder: Path, record: PictureRecord, scale: int, assets: Path, prefix: str) -> Comparison:
    folder = folder / record.choice
    hr = _read(folder / "hr.png")
    images = {"bicubic": ("bicubic", _read(folder / "bicubic.png", hr.shape))}
    for model in record.gaps:
        for kind, name in KINDS.items():
            key = f"{model}-{kind}"
            images[key] = (f"{labels.model(model)} {name}", _read(folder / f"{key}.png", hr.shape))
    images["hr"] = ("HR", hr)
    errors = {key: np.abs(luma(image) - luma(hr)) for key, (_, image) in images.items()}
    floats = [errors[f"{model}-float"] ** 2 for model in record.gaps]
    region = best_region(errors["bicubic"] ** 2 - np.mean(floats, axis=0), scale)
    top = error_range([region.cut(error) for key, error in errors.items() if key != "hr"])
    sources = []
    for key, (name, image) in images.items():
        crop, error = assets / f"{prefix}-{key}.webp", assets / f"{prefix}-{key}-error.webp"
        write_image(crop, Image.fromarray(region.cut(image)), "WEBP", lossless=True, quality=WEBP_EFFORT)
        write_image(error, error_map(region.cut(errors[key]), top), "WEBP", lossless=True, quality=WEBP_EFFORT)
        scores = {} if key == "hr" else _scores(region.cut(image), region.cut(hr))
        sources.append(Source(key, name, f"{assets.name}/{crop.name}", f"{assets.name}/{error.name}", **scores))
    overview = Image.fromarray(hr).convert("RGB")
    overview.thumbnail((OVERVIEW, OVERVIEW))
    write_image(assets / f"{prefix}-overview.webp", overview, "WEBP", quality=80)
    first = next(iter(record.gaps))
    return Comparison(
        image=record.image,
        choice=record.choice,
        gap=labels.decibels(float(np.mean(list(record.gaps.values())))),
        gaps=labels.listing([f"{labels.model(model)} {labels.number(gap, 2)}" for model, gap in record.gaps.items()]),
        overview=f"{assets.name}/{prefix}-overview.webp",
        overview_size=overview.size,
        box=region.share(*hr.shape[:2]),
        side=region.side,
        error_range=top,
        sources=sources,
        left=f"{first}-float",
        right=f"{first}-binary",
    )


def _scores(crop: NDArray, target: NDArray) -> dict[str, str]:
    def level(channel: str) -> str:
        value = psnr(crop, target, channel="y" if channel == "y" else "rgb")
        return labels.decibels(value) if math.isfinite(value) else "identical"

    colour = target.ndim == 3
    return {
        "psnr_y": level("y"),
        "psnr_rgb": level("rgb") if colour else "",
        "ssim_y": labels.number(ssim(crop, target), 4),
    }


def _read(path: Path, shape: tuple[int, ...] | None = None) -> NDArray:
    if not path.exists():
        raise InputError(f"{path}: missing; {REMEDY}")
    pixels = read_image(path, f"delete it and {REMEDY}")
    if shape is not None and pixels.shape != shape:
        raise InputError(f"{path}: is {pixels.shape}, its HR image {shape}; delete it and {REMEDY}")
    return pixels
