"""The networks' operation, run by the compiled kernels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numba

from pipeline.engine.kernels.channel import compiled as channel_kernels
from pipeline.engine.kernels.channel import convolutions as channel_convolutions
from pipeline.engine.kernels.pixel import convolutions as pixel_convolutions
from pipeline.engine.layers import Layer
from pipeline.engine.output_formats import Method, output_format_of
from pipeline.engine.quantization import Rounding
from pipeline.engine.steps import Step
from pipeline.engine.workspace import Workspace


class EngineOps:
    """The networks' operation, run by the compiled kernels.

    Parameters
    ----------
    layers : mapping of str to Layer
    roundings : mapping of str to Rounding
        Of the inputs of the layers that do not compute in float32.
    method : {"auto", "tables", "popcount"}
        See `Engine`.
    """

    def __init__(self, layers: Mapping[str, Layer], roundings: Mapping[str, Rounding], method: Method = "auto") -> None:
        self.workspace = Workspace()
        kind: Any = pixel_convolutions.Convolution
        if channel_kernels.supported():
            kind = partial(channel_convolutions.Convolution, method=method)
        self.convolutions: dict[str, Any] = {
            name: kind(layer, roundings.get(name), output_format_of(layer, layers, roundings), self.workspace)
            for name, layer in layers.items()
        }
        self._first = next(iter(layers), None)
        self._steps: dict[str, Step] = {}
        self._conditions: tuple[tuple[int, ...], int] | None = None  # that they are prepared for
        self._done: dict[str, list[str]] = {}  # by layer, those whose output has no later user
        order = list(layers)
        for name, layer in layers.items():
            if users := layer.readers + layer.adders:
                self._done.setdefault(max(users, key=order.index), []).append(name)

    def conv(
        self, layer: str, x: Any, *, norm: Any = None, activation: Any = None, residual: Any = None, **arguments: Any
    ) -> Any:
        """Run a layer, see `pipeline.engine.networks.Ops.conv`; `norm` and `activation` are in its epilogue.

        Between layers, images are an `Activation` instead of an array. The next run overwrites the network's output.
        """
        if layer == self._first and (conditions := (x.shape, numba.get_num_threads())) != self._conditions:
            self.clear()  # buffers of another size are of no further use
            self._conditions = conditions
        step = self._steps.get(layer)
        if step is None:
            step = self._steps[layer] = self.convolutions[layer].prepare(x, residual=residual, **arguments)
            for done in self._done.get(layer, ()):
                self._steps[done].release()
        return step(x, residual)

    def clear(self) -> None:
        """Drop all buffers."""
        self._steps.clear()
        self.workspace.clear()
        self._conditions = None
