"""A network in two parts, for images that are cut into tiles: up to its first pixel shuffle, and from there on.

The second part needs up to 16 times as much memory for each pixel of the input, but only few pixels around a tile: it
runs on smaller tiles than the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.engine.layers import Layer, receptive_radius
from pipeline.engine.networks import Architecture, Array

MakeOps = Callable[[Mapping[str, Layer]], Any]  # `pipeline.engine.ops.EngineOps`


class Parts:
    """The two parts of a network.

    Parameters
    ----------
    architecture : Architecture
    first, second : mapping of str to Layer
        As `parted` returns them.
    make_ops : callable
        Returns what runs some layers.

    Attributes
    ----------
    reach : int
        The radius of the second part's receptive field, in pixels of its input.
    """

    def __init__(
        self, architecture: Architecture, first: Mapping[str, Layer], second: Mapping[str, Layer], make_ops: MakeOps
    ) -> None:
        self._architecture, self._entry = architecture, next(iter(second))
        self._first, self._second = make_ops(first), make_ops(second)
        self.reach = receptive_radius(second)

    def first(self, x: Array, keep: bool) -> Array:
        """Run the first part; return its output, float32 of shape (features, h, w).

        With `keep`, both parts keep their buffers, and the next image of this size is upscaled sooner. Otherwise only
        the part that is running has any.
        """
        if not keep:
            self._second.clear()
        try:
            self._architecture.forward(_UpTo(self._entry, self._first), x)
        except _ReachedError as end:
            features = np.ascontiguousarray(end.features)
            if not keep:
                self._first.clear()
            return features
        raise AssertionError(f"{self._entry} was not reached")

    def clear(self) -> None:
        """Drop all buffers."""
        self._first.clear()
        self._second.clear()

    def second(self, features: Array) -> Array:
        """Run the second part on the output of the first."""
        x = np.zeros((self._architecture.channels, 1, 1), np.float32)  # not used
        return self._architecture.forward(_From(self._entry, self._second, features), x)


def parted(layers: Mapping[str, Layer]) -> tuple[dict[str, Layer], dict[str, Layer]] | None:
    """Part a network's layers before its first pixel shuffle.

    None if there is none, or if from there on anything is used but the output of one layer, which has no other use.
    """
    names = list(layers)
    entry = next((index for index, name in enumerate(names) if layers[name].shuffle > 1), 0)
    first, second = ({name: layers[name] for name in part} for part in (names[:entry], names[entry:]))
    used = [name for name, layer in first.items() if second.keys() & {*layer.readers, *layer.adders}]
    reading = {reader for layer in layers.values() for reader in layer.readers}  # all others read the network's input
    if len(used) != 1 or first[used[0]].readers != (names[entry],) or first[used[0]].adders or second.keys() - reading:
        return None
    first[used[0]] = replace(first[used[0]], readers=())  # the output of the part
    return first, second


class _ReachedError(Exception):
    def __init__(self, features: Array) -> None:
        self.features = features


class _UpTo:
    """Runs layers up to one, and raises its input."""

    def __init__(self, entry: str, ops: Any) -> None:
        self._entry, self._ops = entry, ops

    def conv(self, layer: str, x: Any, **arguments: Any) -> Any:
        if layer == self._entry:
            raise _ReachedError(x)
        return self._ops.conv(layer, x, **arguments)


class _From:
    """Runs layers from one on; all before return its input."""

    def __init__(self, entry: str, ops: Any, features: Array) -> None:
        self._entry, self._ops, self._features, self._reached = entry, ops, features, False

    def conv(self, layer: str, x: Any, **arguments: Any) -> Any:
        self._reached = self._reached or layer == self._entry
        return self._ops.conv(layer, x, **arguments) if self._reached else self._features
