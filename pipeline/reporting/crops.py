"""Pictures for the report: where to look, and the crops of every network side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pipeline.errors import InputError
from pipeline.metrics import luma, psnr
from pipeline.reporting import labels
from pipeline.reporting.results import REMEDY, Results
from pipeline.runs import Run

SIDE = 72  # HR pixels, a multiple of every scale
OVERVIEW = 480  # longest side of the overview, pixels


@dataclass(frozen=True)
class Region:
    """A square of an HR image in pixels: `top`, `left` and `side` are multiples of the scale."""

    top: int
    left: int
    side: int

    def cut(self, image: NDArray, scale: int = 1) -> NDArray:
        """Return the region of an image that is `scale` times smaller than HR."""
        top, left, side = self.top // scale, self.left // scale, self.side // scale
        return image[top : top + side, left : left + side]


@dataclass(frozen=True)
class Tile:
    """One crop: its caption, the PSNR-Y in it as text, and its file below the report's folder."""

    caption: str
    psnr: str
    path: str
    side: int


@dataclass(frozen=True)
class Strip:
    """One network's crops of one region."""

    network: str
    tiles: list[Tile]


@dataclass(frozen=True)
class Picture:
    """One image of a test set: an overview with the region's place in it (percent), and a strip a network."""

    test_set: str
    scale: int
    name: str
    overview: str
    size: tuple[int, int]
    box: tuple[float, float, float, float]
    side: int
    strips: list[Strip]


def make_pictures(results: Results, assets: Path) -> list[Picture]:
    """Write crops below `assets` for every test set and scale, and return what to show.

    The images are those on which the float networks gain most over bicubic in one region: two when the run has
    one test set at one scale, else one for each. A set without kept images gives none.

    Raises
    ------
    InputError
        If an image is missing, unreadable or not as large as its HR image.
    """
    count = 2 if len(results.test_sets) * len(results.scales) == 1 else 1
    pictures: list[Picture] = []
    for test_set in results.test_sets:
        for scale in results.scales:
            folder = results.image_folder / test_set
            hr = folder / f"hr-x{scale}"
            names = sorted(path.relative_to(hr).as_posix() for path in hr.rglob("*.png"))
            regions = {name: _best_region(results, folder, name, scale) for name in names}
            chosen = sorted(regions, key=lambda name: -regions[name][0])[:count]
            for name in chosen:
                prefix = f"{len(pictures) + 1:02d}"
                pictures.append(_picture(results, test_set, scale, name, regions[name][1], assets, prefix))
    return pictures


def best_region(gain: NDArray, scale: int, side: int = SIDE) -> tuple[float, Region]:
    """Return the largest mean of `gain` over a square region on the LR grid, and the region.

    Parameters
    ----------
    gain : (H, W) array
        What to maximise, such as the squared error of bicubic minus that of a network.
    scale : int
        Positions and the side are multiples of it.
    side : int
        Side wanted; smaller images get as much as they have.
    """
    height, width = gain.shape
    side = min(side, height, width) // scale * scale
    sums = np.pad(gain, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    boxes = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    boxes = boxes[::scale, ::scale]
    row, column = np.unravel_index(int(boxes.argmax()), boxes.shape)
    region = Region(int(row) * scale, int(column) * scale, side)
    return float(boxes[row, column]) / side**2, region


def _best_region(results: Results, folder: Path, name: str, scale: int) -> tuple[float, Region]:
    hr = _read(folder / f"hr-x{scale}" / name)
    error = {}
    for source in ["bicubic", *results.models]:
        stem = f"bicubic-x{scale}" if source == "bicubic" else Run(source, scale, "float").name
        error[source] = (luma(_read(folder / stem / name, hr.shape)) - luma(hr)) ** 2
    gain = error["bicubic"] - sum(error[model] for model in results.models) / len(results.models)
    return best_region(gain, scale)


def _picture(
    results: Results, test_set: str, scale: int, name: str, region: Region, assets: Path, prefix: str
) -> Picture:
    folder = results.image_folder / test_set
    hr = _read(folder / f"hr-x{scale}" / name)
    target = region.cut(hr)

    def tile(caption: str, source: str, slug: str) -> Tile:
        if source.startswith("lr-"):
            crop, level = region.cut(_read(folder / source / name), scale), f"{region.side // scale} px wide"
        else:
            crop = region.cut(_read(folder / source / name, hr.shape))
            level = "reference" if source.startswith("hr-") else _level(crop, target)
        _write(crop, assets / f"{prefix}-{slug}.png")
        return Tile(caption, level, f"{assets.name}/{prefix}-{slug}.png", crop.shape[0])

    small, bicubic = tile("LR", f"lr-x{scale}", "lr"), tile("bicubic", f"bicubic-x{scale}", "bicubic")
    reference = tile("HR", f"hr-x{scale}", "hr")
    strips = []
    for model in results.models:
        real, binary = Run(model, scale, "float").name, Run(model, scale, "binary").name
        tiles = [small, bicubic, tile("float", real, f"{model}-float"), tile("binary", binary, f"{model}-binary")]
        if (folder / f"{binary}/engine_int8").is_dir():
            tiles.append(tile("engine int8", f"{binary}/engine_int8", f"{model}-int8"))
        strips.append(Strip(labels.model(model), [*tiles, reference]))
    height, width = hr.shape[:2]
    overview = Image.fromarray(hr)
    overview.thumbnail((OVERVIEW, OVERVIEW))
    _write(np.asarray(overview), assets / f"{prefix}-overview.png")
    box = (
        100 * region.left / width,
        100 * region.top / height,
        100 * region.side / width,
        100 * region.side / height,
    )
    path = f"{assets.name}/{prefix}-overview.png"
    return Picture(test_set, scale, name.removesuffix(".png"), path, overview.size, box, region.side, strips)


def _level(crop: NDArray, target: NDArray) -> str:
    level = psnr(crop, target, border=0, channel="y")
    return labels.decibels(level) if math.isfinite(level) else "identical"


def _read(path: Path, shape: tuple[int, ...] | None = None) -> NDArray:
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    except FileNotFoundError:
        raise InputError(f"{path}: missing; {REMEDY}") from None
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{path}: cannot be read as an image: {error}; delete it and {REMEDY}") from None
    if shape is not None and pixels.shape != shape:
        raise InputError(f"{path}: is {pixels.shape}, its HR image {shape}; delete it and {REMEDY}")
    return pixels


def _write(pixels: NDArray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, optimize=True)
