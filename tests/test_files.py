"""Writing whole files, and sweeping up after writers that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from pipeline.files import atomic, sweep, write_json, write_text

KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline.files import atomic
with atomic(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_swept(tmp_path):
    path = tmp_path / "whole.json"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".whole.json.") and left.name.endswith(".tmp")
    sweep([tmp_path])
    assert list(tmp_path.iterdir()) == []


def test_what_others_write_stays(tmp_path):
    others = [".whole.json.00000000.1.tmp", ".notes.tmp", "a.tmp"]  # of another machine, and of other programs
    for name in others:
        (tmp_path / name).write_text("")
    with atomic(tmp_path / "whole.json") as temporary:
        temporary.write_text("being written")
        sweep([tmp_path, tmp_path / "missing"])
        assert temporary.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "whole.json"])


def test_a_failure_leaves_the_file_before(tmp_path):
    path = tmp_path / "value.json"
    write_text(path, "before")
    with pytest.raises(ValueError, match="Out of range float values"):
        write_json(path, float("nan"))
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["value.json"]
