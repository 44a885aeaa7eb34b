"""Machine code on disk: found again by the next process, and never that of other types or other sources."""

import importlib.util
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pipeline.benchmark import limits
from pipeline.engine import kernels
from pipeline.engine.kernels.channel import compiled as channel
from pipeline.engine.kernels.parallel import _call_in_parallel as call_on_workers_in_parallel
from pipeline.engine.kernels.pixel import compiled as pixel
from pipeline.machine_code import _stamp
from tests.conftest import ROOT

MODULE = """
from pathlib import Path
from pipeline.machine_code import compiler
from constants import FACTOR
@compiler(Path(__file__).parent)
def multiplied(x):
    return x * FACTOR
"""
TYPES = (np.int8, np.int16, np.int32, np.int64, np.uint16, np.float32, np.float64, np.complex64)

# Compiles for all types, in an order of its own.
COMPILE_ALL = """
import sys, random
import numpy as np
from functions import multiplied
from tests.test_machine_code import TYPES
for kind in random.Random(int(sys.argv[1])).sample(TYPES, len(TYPES)):
    assert (multiplied(np.full(3, 2, kind)) == 6).all()
print(sum(multiplied.stats.cache_hits.values()), sum(multiplied.stats.cache_misses.values()))
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "functions.py").write_text(MODULE)
    (tmp_path / "constants.py").write_text("FACTOR = 3\n")
    return tmp_path


@pytest.fixture
def load(folder, monkeypatch):
    """Import the function as a new process does."""
    monkeypatch.syspath_prepend(folder)

    def load():
        sys.modules.pop("constants", None)
        spec = importlib.util.spec_from_file_location("functions", folder / "functions.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.multiplied

    yield load
    sys.modules.pop("constants", None)


def counts(function):
    """How many signatures were found, and how many compiled."""
    return sum(function.stats.cache_hits.values()), sum(function.stats.cache_misses.values())


def files(folder):
    return sorted(folder.rglob("*.machine-code"))


def test_what_one_process_compiled_the_next_finds(load, folder):
    first, second = load(), load()
    for function in (first, second):
        assert [function(kind(2)) for kind in (np.int64, np.float32)] == [6, 6]
    assert (counts(first), counts(second)) == ((0, 2), (2, 0))
    assert len(files(folder)) == 2


def test_processes_may_compile_at_the_same_time(folder):
    def run(seed):
        command = [sys.executable, "-c", COMPILE_ALL, str(seed)]
        environment = {"PYTHONPATH": f"{folder}:{ROOT}", "PATH": ""}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    with ThreadPoolExecutor() as pool:
        list(pool.map(run, range(3)))
    assert run(3) == f"{len(TYPES)} 0\n"


def test_code_of_other_types_is_not_taken(load, folder):
    assert load()(2) == 6
    (of_int,) = files(folder)
    assert load()(2.5) == 7.5
    (of_float,) = set(files(folder)) - {of_int}
    of_int.write_bytes(of_float.read_bytes())
    again = load()
    assert again(2) == 6 and counts(again) == (0, 1)


def test_a_change_of_another_file_is_noticed(load, folder):
    assert load()(2) == 6
    (folder / "constants.py").write_text("FACTOR = 44\n")
    again = load()
    assert again(2) == 88 and counts(again) == (0, 1)
    assert len(files(folder)) == 1


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"", lambda content: content + b"x"])
def test_a_damaged_file_is_written_anew(load, folder, damage):
    assert load()(2) == 6
    (path,) = files(folder)
    path.write_bytes(damage(path.read_bytes()))
    again, last = load(), load()
    assert (again(2), last(2)) == (6, 6)
    assert (counts(again), counts(last)) == ((0, 1), (1, 0))


def test_where_a_file_cannot_be_written_the_function_runs(load, folder):
    assert load()(2) == 6
    (path,) = files(folder)
    path.unlink()
    path.mkdir()
    again = load()
    assert again(2) == 6 and counts(again) == (0, 1)


def test_kernels_notice_a_change_of_each_file_that_they_come_from():
    folder = Path(kernels.__file__).parent
    for function in (channel.convolve, pixel.convolve, call_on_workers_in_parallel):
        assert function._cache._cache_file.stamp == _stamp((folder,))
    assert limits._look_up._cache._cache_file.stamp == _stamp((Path(limits.__file__), folder))
    ours = re.compile(r"^from (pipeline\S*) import", re.MULTILINE)
    for path in (folder / "emit.py", folder / "parallel.py", *folder.glob("*/compiled/*.py")):
        for module in ours.findall(path.read_text()):
            assert module == "pipeline.machine_code" or f"{module}.".startswith("pipeline.engine.kernels."), path
    assert _stamp((folder,)) != _stamp((folder / "parallel.py",))
