"""A layer prepared for images of one size: its buffers and the arguments of its kernels are chosen once.

Choosing them takes Python longer than a kernel takes for a small image.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from numpy.typing import NDArray

from pipeline.engine.networks import Array
from pipeline.engine.workspace import Workspace

Load = Callable[[Array], object]


class Step:
    """The calls that run a layer; the step itself is called with its input and the image to add.

    Parameters
    ----------
    workspace : Workspace

    Attributes
    ----------
    load, load_residual : callable, optional
        Copies the input or the image to add into a buffer, if it comes from outside as an array.
    output : Activation or float32, shape (C, H, W)
        Where the layer's output is after each run; array of the network's output, which the next run overwrites.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._calls: list[Callable[[], object]] = []
        self._scratch: list[NDArray] = []
        self._kept: list[NDArray] = []
        self.load: Load | None = None
        self.load_residual: Load | None = None
        self.output: Any = None

    def buffer(self, shape: tuple[int, ...], dtype: type, purpose: Hashable = None, kept: bool = False) -> NDArray:
        """Take a buffer from the workspace: for the output (`kept`), or for use within the step."""
        array = self._workspace.take(shape, dtype, purpose)
        (self._kept if kept else self._scratch).append(array)
        return array

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Add a call."""
        self._calls.append(partial(function, *arguments))

    def finish(self, output: Any) -> Step:
        """Set the output, and let later steps use the buffers that are not kept."""
        self.output = output
        self._give_back(self._scratch)
        return self

    def release(self) -> None:
        """Let later steps overwrite the output."""
        self._give_back(self._kept)

    def _give_back(self, arrays: list[NDArray]) -> None:
        while arrays:
            self._workspace.give_back(arrays.pop())

    def __call__(self, x: Any, residual: Any = None) -> Any:
        """Run the layer; images of other steps are already in their buffers."""
        if self.load is not None:
            self.load(x)
        if self.load_residual is not None:
            self.load_residual(residual)
        for call in self._calls:
            call()
        return self.output
