"""Time and memory of the engine and of other runtimes."""

import os

# Idle OpenMP threads must sleep instead of spinning: PyTorch and Numba have a pool each, and the threads of one would
# spin on the cores that the other needs. This must be set before either is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
