"""Peak memory of one forward pass, each backend in a process of its own.

A child (``python -m pipeline.benchmark.memory FOLDER BACKEND REQUEST``) imports only what its backend needs.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.benchmark.backends import Backend, UnavailableError, one_line
from pipeline.records import Memory

PACKED = "packed.safetensors"
WARM_UP_SIZE = 16  # side of the LR image of the first forward pass, which compiles and loads what it needs
NOT_MEASURED = {
    "torch_compile": "not measured: its compiler's own memory is taken in the same process",
    "torch_avx2": "not measured: it runs in a process of its own",
}


def peak_memory(folder: Path, backend: str, request: Mapping[str, Any]) -> Memory:
    """Measure one backend in a child process.

    Parameters
    ----------
    folder : Path
        Holds the packed network, as `PACKED`.
    backend : str
    request : mapping
        What to run, in JSON's types: ``config`` of the float network, ``channels`` and ``size`` of the input, side
        ``warm_up`` of a smaller one, ``threads``, and ``files``, those that runtimes read, by backend.

    Raises
    ------
    UnavailableError
        If the backend cannot run.
    """
    if backend in NOT_MEASURED:
        raise UnavailableError(NOT_MEASURED[backend])
    command = [sys.executable, "-m", "pipeline.benchmark.memory", str(folder), backend, json.dumps(request)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode:
        raise UnavailableError(f"failed: {(child.stderr.strip().splitlines() or ['no message'])[-1]}")
    return Memory(**json.loads(child.stdout.splitlines()[-1]))


def main(folder: Path, backend: str, request: Mapping[str, Any]) -> None:
    try:
        print(json.dumps(asdict(_measure(_loader(folder, backend, request), request))))
    except (UnavailableError, OSError) as error:
        sys.exit(one_line(error))


def _measure(load: Callable[[NDArray[np.float32]], Backend], request: Mapping[str, Any]) -> Memory:
    rng = np.random.default_rng(0)
    small, x = (
        rng.random((request["channels"], *size), np.float32) for size in ([request["warm_up"]] * 2, request["size"])
    )
    load(small).run()
    backend = load(x)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    loaded = _status("VmRSS")
    backend.run()
    peak = _status("VmHWM")
    return Memory(loaded_mib=loaded, peak_mib=peak, forward_mib=round(peak - loaded, 1))


def _loader(folder: Path, name: str, request: Mapping[str, Any]) -> Callable[[NDArray[np.float32]], Backend]:
    """Return what makes the backend ready for an input. It imports only what the backend needs: imports take memory."""
    threads = request["threads"]
    if name.startswith("engine"):
        from pipeline.benchmark import engines
        from pipeline.packed import read

        loaded = engines.load(name, read(folder / PACKED), None, threads)
        return lambda x: engines.bind(name, loaded, x)
    if name in request["files"]:
        from pipeline.benchmark.runtimes import RUNTIMES

        load = RUNTIMES[name][1]
        return lambda x: load(Path(request["files"][name]), x, threads)
    from pipeline.benchmark.baselines import PEERS
    from pipeline.benchmark.exports import Exports
    from pipeline.models import build

    config = dict(request["config"])
    module = build(config.pop("model"), **config).eval()
    return lambda x: PEERS[name](Exports(module, [], folder), x, threads)


def _status(field: str) -> float:
    """Read a size from /proc/self/status, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise UnavailableError(f"/proc/self/status: {field}: missing")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))  # no parser: its memory would count as the backend's
