"""Functions that Numba compiles, with their machine code kept on disk.

Numba's own cache (``cache=True``) has one index for all machine code of a function. Processes that compile it for
different types at the same time overwrite each other's index and data, so that a later process may run the code for
other types than those of its arguments, and crash. Nor does that cache notice changes of other files than the
function's own. Here the machine code for each combination of types has a file of its own, which says what it is for,
and is used only if all files that it comes from are unchanged.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache
from numba.core.serialize import dumps

from pipeline.errors import InputError
from pipeline.files import atomic, sweep

DIGEST_BYTES = 32


def compiler(*sources: Path) -> Callable[..., Any]:
    """Return Numba's `njit`, keeping machine code where Numba does: beside the function's file, or in its user's cache.

    Parameters
    ----------
    sources : Path
        What the machine code comes from: Python files, or folders of them.
    """
    stamp = _stamp(sources)

    def njit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
        if function is None:
            return lambda decorated: njit(decorated, **options)
        dispatcher = numba.njit(**options)(function)
        dispatcher._cache = _Cache(function, stamp)
        return dispatcher

    return njit


def _stamp(sources: tuple[Path, ...]) -> str:
    """Return a checksum of what machine code comes from, with the versions of Python and Numba."""
    stamp = sha256(f"{sys.version} {numba.__version__}".encode())
    for source in sources:
        for path in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            stamp.update(path.read_bytes())
    return stamp.hexdigest()


class _Cache(FunctionCache):
    """Numba's cache of one function, with other files."""

    def __init__(self, function: Callable[..., Any], stamp: str) -> None:
        super().__init__(function)
        name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        self._cache_file = _Files(Path(self.cache_path), name, stamp)  # type: ignore[assignment]  # in its place


class _Files:
    """The files of one function: a checksum, then in a pickle the stamp, what it was compiled for, and machine code."""

    def __init__(self, folder: Path, function: str, stamp: str) -> None:
        self.folder, self.function, self.stamp = folder, function, stamp

    def _path(self, key: Any) -> Path:
        name = sha256(f"{sys.implementation.cache_tag} {key}".encode()).hexdigest()[:16]
        return self.folder / f"{self.function}.{name}.machine-code"

    def save(self, key: Any, data: Any) -> None:
        """Write machine code; where that cannot be done, as on a full disk, the next process compiles again."""
        pickled = dumps((self.stamp, key, data))
        sweep([self.folder])
        with suppress(InputError), atomic(self._path(key)) as temporary:
            temporary.write_bytes(sha256(pickled).digest() + pickled)

    def load(self, key: Any) -> Any:
        """Return what was saved, or None where it is missing, damaged or of other sources."""
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        digest, pickled = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if sha256(pickled).digest() != digest:
            return None
        stamp, saved_key, data = pickle.loads(pickled)
        return data if (stamp, saved_key) == (self.stamp, key) else None
