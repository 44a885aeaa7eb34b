"""From an 8-bit or 16-bit image to a network's input and back: the same for PyTorch and for the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.data.resize import imresize_region
from pipeline.errors import InputError
from pipeline.metrics import LUMA_WEIGHTS, luma
from pipeline.networks import NETWORKS

Depth = TypeVar("Depth", bound=np.uint8 | np.uint16)
Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # C×h×w over 255 to C×H×W over 255
Region = tuple[slice, slice]  # rows and columns


class NotFiniteError(InputError):
    """A network whose weights are so large that its output overflows."""


def upscale_image(forward: Forward, image: NDArray[Depth], model: str, scale: int) -> NDArray[Depth]:
    """Upscale an image with a network.

    Parameters
    ----------
    forward : callable
        The network: float32 C×h×w in [0, 1] to C×H×W. C is 1 (luma of the bicubic image) for networks on luma, else 3.
    image : uint8 or uint16, H×W×3 or H×W
        A grey image runs as RGB with equal channels, or directly as luma.
    model : str
        One of `pipeline.runs.MODELS`.
    scale : {2, 3, 4}

    Returns
    -------
    of the image's type, (scale·H)×(scale·W)×3 or (scale·H)×(scale·W)

    Raises
    ------
    InputError
        If the image has another type or shape, or no pixel.
    NotFiniteError
        If the output is not finite.
    """
    upscaling = upscaling_of(image, model, scale)
    upscaling.write(upscaling.whole, forward(upscaling.read(upscaling.whole)))
    return upscaling.result


def network_input(image: NDArray[Any], model: str, scale: int) -> NDArray[np.float32]:
    """Return the input that a network has for an image, float32 of shape (C, h, w); errors as for `upscale_image`."""
    upscaling = upscaling_of(image, model, scale)
    return upscaling.read(upscaling.whole)


class Upscaling(ABC, Generic[Depth]):
    """An image that a network upscales, whole or region by region, so that only the regions are held in float.

    Attributes
    ----------
    size : tuple of int
        Height and width of the network's input; regions are given in its pixels.
    factor : int
        Size of the network's output over that of its input.
    result : of the image's type
        The upscaled image, complete once all its regions are written.
    """

    def __init__(self, image: NDArray[Depth], scale: int, size: tuple[int, int], factor: int) -> None:
        height, width = image.shape[:2]
        self.size, self.factor = size, factor
        self.result = np.empty((scale * height, scale * width, *image.shape[2:]), image.dtype)
        self._peak = np.iinfo(image.dtype).max
        self._unit = np.float32(self._peak / 255)  # 1 or 257, so that networks compute as with 8 bits, with a fraction

    @property
    def whole(self) -> Region:
        """The region that is all of the network's input."""
        height, width = self.size
        return slice(0, height), slice(0, width)

    @abstractmethod
    def read(self, region: Region) -> NDArray[np.float32]:
        """Return the network's input in a region, float32 of shape (C, h, w)."""

    @abstractmethod
    def write(self, region: Region, output: NDArray[np.float32]) -> None:
        """Round and keep the network's output in a region, float32 of shape (C, factor·h, factor·w)."""

    def _store(self, region: Region, levels: NDArray[Any]) -> None:
        if not np.isfinite(levels).all():  # what has no level would become one at random
            raise NotFiniteError("the network's output is not finite; train it again, with a lower learning rate")
        rows, columns = (slice(self.factor * part.start, self.factor * part.stop) for part in region)
        self.result[rows, columns] = np.clip(np.rint(levels * self._unit), 0, self._peak).astype(self.result.dtype)


class _Rgb(Upscaling[Depth]):
    def __init__(self, image: NDArray[Depth], scale: int) -> None:
        super().__init__(image, scale, image.shape[:2], scale)
        self._image = image

    def read(self, region: Region) -> NDArray[np.float32]:
        levels = self._image[region].astype(np.float32) / self._unit
        rgb = levels if levels.ndim == 3 else np.repeat(levels[:, :, None], 3, axis=2)
        return np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32) / np.float32(255)

    def write(self, region: Region, output: NDArray[np.float32]) -> None:
        levels = output.transpose(1, 2, 0) * np.float32(255)
        self._store(region, levels if self._image.ndim == 3 else levels @ (LUMA_WEIGHTS / LUMA_WEIGHTS.sum()))


class _Luma(Upscaling[Depth]):
    """The network changes the luma of the bicubic image."""

    def __init__(self, image: NDArray[Depth], scale: int) -> None:
        height, width = image.shape[:2]
        super().__init__(image, scale, (scale * height, scale * width), 1)
        self._image, self._scale = image, scale
        self._last: tuple[Region, NDArray[np.float64]] | None = None

    def read(self, region: Region) -> NDArray[np.float32]:
        return self._luma(self._bicubic(region))[None]

    def write(self, region: Region, output: NDArray[np.float32]) -> None:
        bicubic = self._bicubic(region)
        change = (output[0] - self._luma(bicubic)).astype(np.float64) * 255
        # At equal chroma, a change of luma moves R, G and B alike.
        self._store(
            region, bicubic + (change if bicubic.ndim == 2 else change[:, :, None] * (255 / LUMA_WEIGHTS.sum()))
        )

    def _luma(self, bicubic: NDArray[np.float64]) -> NDArray[np.float32]:
        return (luma(bicubic) / 255).astype(np.float32)

    def _bicubic(self, region: Region) -> NDArray[np.float64]:
        """Return the bicubic image in a region, which is often part of the one before."""
        if self._last is None or not all(map(_within, region, self._last[0])):
            self._last = region, imresize_region(self._image, self._scale, *region) / self._unit
        (rows, columns), resized = self._last
        return resized[shifted(region[0], -rows.start), shifted(region[1], -columns.start)]


def upscaling_of(image: NDArray[Depth], model: str, scale: int) -> Upscaling[Depth]:
    """Prepare an image for a network; parameters and errors as for `upscale_image`."""
    known = image.dtype in (np.uint8, np.uint16) and image.ndim in (2, 3) and image.shape[2:] in ((), (3,))
    if not known or image.size == 0:
        raise InputError(f"image: {image.dtype} of shape {image.shape}; give uint8 or uint16 of shape H×W×3 or H×W")
    return (_Luma if NETWORKS[model].on_luma else _Rgb)(image, scale)


def _within(inner: slice, outer: slice) -> bool:
    return outer.start <= inner.start and inner.stop <= outer.stop


def shifted(part: slice, by: int) -> slice:
    """Return a slice that starts and stops `by` later."""
    return slice(part.start + by, part.stop + by)
