"""3×3 convolutions of a training on few processor cores, by Winograd's algorithm (Lavin and Gray, CVPR 2016).

F(4×4, 3×3): a tile of 6×6 inputs is taken to 36 points, where 16 outputs cost 36 multiplications a pair of channels in
place of 144, in batched matrix products; its gradients cost as little. In float32, outputs and gradients differ
from PyTorch's own by about 1e-5 of the largest value. Threads share the images of a batch; their number changes no
result.
"""

# The compiled functions need no types of their own: Numba infers them.
# mypy: disallow_untyped_defs = False

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numba import prange
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.machine_code import compiler
from pipeline.threads import set_threads

MOST_THREADS = 2  # of PyTorch: with more, it has not been compared with PyTorch's own convolutions
FEWEST_CHANNELS = 64  # of inputs and of outputs: with fewer, the transforms cost more than the products save

_FILTER = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
_FILTERS = torch.from_numpy(np.kron(_FILTER, _FILTER).astype(np.float32))  # 9 weights to 36 points

ZERO, TWO, FOUR = np.float32(0), np.float32(2), np.float32(4)

_njit = partial(compiler(Path(__file__)), nogil=True, boundscheck=False, fastmath={"contract"})
_compiled, _parallel = _njit(), _njit(parallel=True)


@contextmanager
def winograd(module: nn.Module) -> Iterator[None]:
    """Compute a network's wide 3×3 convolutions in this way where it is faster: in float32, on few processor cores."""
    threads = torch.get_num_threads()
    few = threads <= MOST_THREADS and not torch.is_autocast_enabled("cpu")
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d) and few and _suits(layer)]
    set_threads(threads)
    for layer in layers:
        layer._conv_forward = _Convolution.apply  # type: ignore[method-assign]  # what `forward` of all layers calls
    try:
        yield
    finally:
        for layer in layers:
            del layer._conv_forward


def _suits(layer: nn.Conv2d) -> bool:
    kind = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups, layer.padding_mode)
    wide = min(layer.in_channels, layer.out_channels) >= FEWEST_CHANNELS
    same_size = kind == ((3, 3), (1, 1), (1, 1), (1, 1), 1, "zeros")
    return same_size and wide and layer.weight.device.type == "cpu" and layer.weight.dtype == torch.float32


class _Convolution(torch.autograd.Function):
    """The convolution of N×C×H×W inputs by K×C×3×3 filters, with zeros around the image."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        pixels = inputs.permute(0, 2, 3, 1).contiguous()  # a view of channels-last inputs
        images, height, width, channels = pixels.shape
        tiles = images * -(-height // 4) * -(-width // 4)
        points = pixels.new_empty(36, tiles, channels)
        _inputs_to_points(pixels.numpy(), _6x6(points))
        filters = (_FILTERS @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(36, channels, -1)
        outputs = pixels.new_empty(images, height, width, len(weight))
        added = weight.new_zeros(len(weight)) if bias is None else bias.detach()
        _points_to_outputs(_6x6(points @ filters), added.numpy(), outputs.numpy())
        ctx.save_for_backward(points, filters)
        ctx.input_shape, ctx.has_bias = pixels.shape, bias is not None
        return outputs.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        points, filters = ctx.saved_tensors
        _, tiles, channels = points.shape
        gradient = gradients[0].permute(0, 2, 3, 1).contiguous()
        at_points = gradient.new_empty(36, tiles, gradient.shape[3])
        _outputs_to_points(gradient.numpy(), _6x6(at_points))
        of_filters = (_FILTERS.T @ (points.mT @ at_points).view(36, -1)).view(3, 3, channels, -1)
        of_inputs = None
        if ctx.needs_input_grad[0]:
            of_pixels = gradient.new_zeros(ctx.input_shape)
            _points_to_inputs(_6x6(at_points @ filters.mT), of_pixels.numpy())
            of_inputs = of_pixels.permute(0, 3, 1, 2)
        return of_inputs, of_filters.permute(3, 2, 0, 1), gradient.sum((0, 1, 2)) if ctx.has_bias else None


def _6x6(points: Tensor) -> NDArray[np.float32]:
    return points.view(6, 6, *points.shape[1:]).numpy()


# The transforms of one dimension: Bᵀ of inputs and Aᵀ to outputs (section 4.3 there), and their transposes, which take
# gradients back.


@_compiled
def _input(x0, x1, x2, x3, x4, x5):
    even, odd = x4 - FOUR * x2, x3 - FOUR * x1
    far, twice = x4 - x2, TWO * (x3 - x1)
    return FOUR * (x0 - x2) + far, even + odd, even - odd, far + twice, far - twice, FOUR * (x1 - x3) + x5 - x3


@_compiled
def _input_transposed(x0, x1, x2, x3, x4, x5):
    near, far = x1 + x2, x3 + x4
    odd, twice = x1 - x2, TWO * (x3 - x4)
    third, fourth = -FOUR * (x0 + near) - x0 - far, odd + twice - FOUR * x5 - x5
    return FOUR * x0, FOUR * (x5 - odd) - twice, third, fourth, x0 + near + far, x5


@_compiled
def _output(x0, x1, x2, x3, x4, x5):
    near, far = x1 + x2, x3 + x4
    odd, twice = x1 - x2, TWO * (x3 - x4)
    return x0 + near + far, odd + twice, near + FOUR * far, odd + FOUR * twice + x5


@_compiled
def _output_transposed(x0, x1, x2, x3):
    even, odd = x0 + x2, x1 + x3
    far, twice = x0 + FOUR * x2, TWO * (x1 + FOUR * x3)
    return x0, even + odd, even - odd, far + twice, far - twice, x3


# Of whole images: N×H×W×C pixels and 6×6×tiles×C points. The innermost loops run over channels, in vectors.


@_parallel
def _inputs_to_points(pixels, points):
    images, height, width, channels = pixels.shape
    for image in prange(images):
        d, h = np.empty((6, 6, channels), np.float32), np.empty((6, 6, channels), np.float32)
        tile = image * (-(-height // 4) * -(-width // 4))
        for top in range(-1, height - 1, 4):
            for left in range(-1, width - 1, 4):
                for i in range(6):
                    for j in range(6):
                        inside = 0 <= top + i < height and 0 <= left + j < width
                        for c in range(channels):
                            d[i, j, c] = pixels[image, top + i, left + j, c] if inside else ZERO
                for j in range(6):
                    for c in range(channels):
                        y = _input(d[0, j, c], d[1, j, c], d[2, j, c], d[3, j, c], d[4, j, c], d[5, j, c])
                        h[0, j, c], h[1, j, c], h[2, j, c], h[3, j, c], h[4, j, c], h[5, j, c] = y
                for i in range(6):
                    p = points[i]
                    for c in range(channels):
                        y = _input(h[i, 0, c], h[i, 1, c], h[i, 2, c], h[i, 3, c], h[i, 4, c], h[i, 5, c])
                        p[0, tile, c], p[1, tile, c], p[2, tile, c], p[3, tile, c], p[4, tile, c], p[5, tile, c] = y
                tile += 1


@_parallel
def _points_to_inputs(points, pixels):
    """Add the gradients at the points to those of the inputs."""
    images, height, width, channels = pixels.shape
    for image in prange(images):
        d, h = np.empty((6, 6, channels), np.float32), np.empty((6, 6, channels), np.float32)
        tile = image * (-(-height // 4) * -(-width // 4))
        for top in range(-1, height - 1, 4):
            for left in range(-1, width - 1, 4):
                for i in range(6):
                    p = points[i]
                    for c in range(channels):
                        y = _input_transposed(
                            p[0, tile, c], p[1, tile, c], p[2, tile, c], p[3, tile, c], p[4, tile, c], p[5, tile, c]
                        )
                        h[i, 0, c], h[i, 1, c], h[i, 2, c], h[i, 3, c], h[i, 4, c], h[i, 5, c] = y
                for j in range(6):
                    for c in range(channels):
                        y = _input_transposed(h[0, j, c], h[1, j, c], h[2, j, c], h[3, j, c], h[4, j, c], h[5, j, c])
                        d[0, j, c], d[1, j, c], d[2, j, c], d[3, j, c], d[4, j, c], d[5, j, c] = y
                for i in range(max(0, -top), min(6, height - top)):
                    for j in range(max(0, -left), min(6, width - left)):
                        for c in range(channels):
                            pixels[image, top + i, left + j, c] += d[i, j, c]
                tile += 1


@_parallel
def _points_to_outputs(points, bias, pixels):
    images, height, width, channels = pixels.shape
    for image in prange(images):
        d, h = np.empty((4, 4, channels), np.float32), np.empty((6, 4, channels), np.float32)
        tile = image * (-(-height // 4) * -(-width // 4))
        for top in range(0, height, 4):
            for left in range(0, width, 4):
                for i in range(6):
                    p = points[i]
                    for c in range(channels):
                        h[i, 0, c], h[i, 1, c], h[i, 2, c], h[i, 3, c] = _output(
                            p[0, tile, c], p[1, tile, c], p[2, tile, c], p[3, tile, c], p[4, tile, c], p[5, tile, c]
                        )
                for j in range(4):
                    for c in range(channels):
                        y = _output(h[0, j, c], h[1, j, c], h[2, j, c], h[3, j, c], h[4, j, c], h[5, j, c])
                        d[0, j, c], d[1, j, c], d[2, j, c], d[3, j, c] = y
                for i in range(min(4, height - top)):
                    for j in range(min(4, width - left)):
                        for c in range(channels):
                            pixels[image, top + i, left + j, c] = d[i, j, c] + bias[c]
                tile += 1


@_parallel
def _outputs_to_points(pixels, points):
    """Take the gradients of the outputs to the points."""
    images, height, width, channels = pixels.shape
    for image in prange(images):
        d, h = np.empty((4, 4, channels), np.float32), np.empty((6, 4, channels), np.float32)
        tile = image * (-(-height // 4) * -(-width // 4))
        for top in range(0, height, 4):
            for left in range(0, width, 4):
                for i in range(4):
                    for j in range(4):
                        inside = top + i < height and left + j < width
                        for c in range(channels):
                            d[i, j, c] = pixels[image, top + i, left + j, c] if inside else ZERO
                for j in range(4):
                    for c in range(channels):
                        y = _output_transposed(d[0, j, c], d[1, j, c], d[2, j, c], d[3, j, c])
                        h[0, j, c], h[1, j, c], h[2, j, c], h[3, j, c], h[4, j, c], h[5, j, c] = y
                for i in range(6):
                    p = points[i]
                    for c in range(channels):
                        y = _output_transposed(h[i, 0, c], h[i, 1, c], h[i, 2, c], h[i, 3, c])
                        p[0, tile, c], p[1, tile, c], p[2, tile, c], p[3, tile, c], p[4, tile, c], p[5, tile, c] = y
                tile += 1
