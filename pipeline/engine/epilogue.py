"""The epilogue of a convolution: per-channel scale, bias and slope, folded from the layers that follow it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.networks import RELU, Array
from pipeline.packed import PackedNetwork

BATCH_NORM_EPSILON = 1e-5  # PyTorch's default, which the networks keep


@dataclass(frozen=True)
class Epilogue:
    """Per output channel: ``y = scale * sums + bias``, then ``y if y > 0 else slope * y``.

    Attributes
    ----------
    scale, bias, slope : float32, shape (O,)
        A slope of 1 means no activation, 0 means ReLU.
    """

    scale: Array
    bias: Array
    slope: Array

    def times(self, step: np.float32 | Array) -> Epilogue:
        """Return the epilogue for sums in units of `step`: one for all output channels, or one for each."""
        return Epilogue(self.scale * step, self.bias, self.slope)


def fold(packed: PackedNetwork, layer: str, norm: str | None, activation: str | None) -> Epilogue:
    """Fold a convolution's per-filter scale and bias, batch normalization and activation, in float64.

    Raises
    ------
    KeyError, ValueError
        If a tensor is missing, or its shape does not fit the filters.
    """

    def vector(name: str) -> NDArray[np.float64]:
        value = packed.tensors[name]
        if value.shape != (outputs,):
            raise ValueError(f"{name}: shape {value.shape} instead of {(outputs,)}")
        return value.astype(np.float64)

    binary = layer in packed.binary
    outputs = len(packed.binary[layer] if binary else packed.tensors[f"{layer}.weight"])
    scale = vector(f"{layer}.alpha") if binary else np.ones(outputs)
    if norm is None:
        bias = vector(f"{layer}.bias")
    else:
        if f"{layer}.bias" in packed.tensors:
            raise ValueError(f"{layer}.bias: that of {norm} takes its place")
        gain = vector(f"{norm}.weight") / np.sqrt(vector(f"{norm}.running_var") + BATCH_NORM_EPSILON)
        scale, bias = scale * gain, vector(f"{norm}.bias") - vector(f"{norm}.running_mean") * gain
    slope = np.full(outputs, _slope(packed, activation))
    return Epilogue(*(np.array(values, np.float32) for values in (scale, bias, slope)))


def _slope(packed: PackedNetwork, activation: str | None) -> float:
    if activation in (None, RELU):
        return 1.0 if activation is None else 0.0
    slope = packed.tensors[f"{activation}.weight"]
    if slope.shape != (1,):
        raise ValueError(f"{activation}.weight: shape {slope.shape} instead of (1,)")
    return float(slope[0])
