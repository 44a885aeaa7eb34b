"""Random training crops, cut and augmented in one indexed operation from a data set that resides on the device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.data.prepared import PreparedSet
from pipeline.data.resize import resize_matrix
from pipeline.errors import InputError
from pipeline.metrics import LUMA_OFFSET, LUMA_WEIGHTS

MARGIN = 2  # LR pixels that bicubic upscaling reads on each side


class Crops:
    """Aligned LR and HR crops of a prepared set.

    Parameters
    ----------
    prepared : PreparedSet
    scale : int
    size : int
        Side of the LR crops, pixels.
    bicubic_luma : bool
        False: inputs are N×3×size×size RGB LR crops. True (VDSR): inputs are the luma of the LR crops upscaled
        bicubically, N×1×(scale·size)×(scale·size), and targets are luma. All values are divided by 255.
    device : torch.device
        Where the pixels reside: memory-mapped on the CPU, copied once to a GPU.

    Raises
    ------
    InputError
        If an image is smaller than a crop.
    """

    def __init__(
        self, prepared: PreparedSet, scale: int, size: int, bicubic_luma: bool, device: torch.device | str = "cpu"
    ) -> None:
        self.scale, self.size, self.bicubic_luma, self.device = scale, size, bicubic_luma, torch.device(device)
        for image in prepared.images:
            height, width = image["height"] // scale, image["width"] // scale
            if min(height, width) < size:
                raise InputError(
                    f"{prepared.name}: {image['name']}: {height}×{width} LR pixels are too few for a crop of {size}; "
                    "lower train.*.patch.size"
                )
        self._images = _table([[i["offset"], i["height"], i["width"], i["channels"]] for i in prepared.images])
        self._lr_images = _table(
            [
                [i["lr"][str(scale)][key] for key in ("offset", "height", "width")] + [i["channels"]]
                for i in prepared.images
            ]
        )
        self._hr = _resident(prepared.folder / "hr.bin", self.device)
        self._lr = _resident(prepared.folder / f"x{scale}.bin", self.device)
        if bicubic_luma:
            padded = resize_matrix(size + 2 * MARGIN, scale)[scale * MARGIN : scale * (MARGIN + size)]
            self._upscale = torch.tensor(padded, dtype=torch.float32, device=self.device)

    def batch(self, rng: np.random.Generator, count: int, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Draw `count` crops, each flipped and transposed at random, and cut those of `part`.

        Every process of a distributed run draws the same `count` crops and cuts only its own part.

        Returns
        -------
        inputs, targets : float32 tensors in [0, 1]
            See the class; the luma of an upscaled crop may overshoot.
        """
        image = rng.integers(len(self._images), size=count)
        lr = self._lr_images[image]
        top = rng.integers(lr[:, 1] - self.size + 1)
        left = rng.integers(lr[:, 2] - self.size + 1)
        flips = rng.integers(2, size=(3, count)).astype(bool)
        image, lr, top, left, flips = image[part], lr[part], top[part], left[part], flips[:, part]
        s, size, margin = self.scale, self.size, MARGIN if self.bicubic_luma else 0
        inputs = self._cut(self._lr, lr, top - margin, left - margin, size + 2 * margin, flips)
        targets = self._cut(self._hr, self._images[image], s * top, s * left, s * size, flips)
        if self.bicubic_luma:
            return self._upscale @ _luma(inputs) @ self._upscale.T, _luma(targets)
        return inputs, targets

    def _cut(
        self, pixels: Tensor, images: np.ndarray, top: np.ndarray, left: np.ndarray, size: int, flips: np.ndarray
    ) -> Tensor:
        """Cut N×3×size×size crops, divided by 255; images are mirrored at their edges, and grey becomes RGB."""

        def on_device(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values).to(self.device, non_blocking=True)[:, None, None]

        offset, height, width, channels = (on_device(column) for column in np.ascontiguousarray(images.T))
        flip_rows, flip_columns, transpose = (on_device(flip) for flip in flips)
        i = torch.arange(size, device=self.device)
        rows, columns = i[None, :, None], i[None, None, :]
        rows, columns = torch.where(transpose, columns, rows), torch.where(transpose, rows, columns)
        rows = torch.where(flip_rows, size - 1 - rows, rows) + on_device(top)
        columns = torch.where(flip_columns, size - 1 - columns, columns) + on_device(left)
        pixel = offset + (_mirror(rows, height) * width + _mirror(columns, width)) * channels
        channel = torch.arange(3, device=self.device)[None, :, None, None] * (channels > 1)[:, None]
        return pixels[pixel[:, None] + channel].float() / 255


def _table(rows: list[list[int]]) -> np.ndarray:
    return np.array(rows, np.int64)


def _mirror(index: Tensor, length: Tensor) -> Tensor:
    index = torch.where(index < 0, -1 - index, index)
    return torch.where(index >= length, 2 * length - 1 - index, index)


def _luma(rgb: Tensor) -> Tensor:
    """Return the luma, N×1×h×w, of N×3×h×w RGB (see `pipeline.metrics.luma`); both are divided by 255."""
    weights = torch.tensor(LUMA_WEIGHTS / 255, dtype=rgb.dtype, device=rgb.device)
    return torch.einsum("nchw,c->nhw", rgb, weights)[:, None] + LUMA_OFFSET / 255


def _resident(path: Path, device: torch.device) -> Tensor:
    pixels = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
    return pixels.to(device)
