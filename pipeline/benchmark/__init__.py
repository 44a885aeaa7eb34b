"""Time and memory of the engine and of other runtimes."""

import os

# Idle threads of OpenMP are to sleep instead of spinning: PyTorch and Numba have a pool each, and one would spin
# on the cores that the other needs. To be set before either is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
