"""A CPU engine for packed networks that needs neither PyTorch nor a compiler: NumPy and Numba only."""

from pipeline.engine.runner import Engine

__all__ = ["Engine"]
