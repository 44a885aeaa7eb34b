"""Writing whole files, and sweeping up after writers that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.data.folders import atomic_folder
from pipeline.errors import InputError
from pipeline.files import MACHINE, atomic, check_writable, sweep, write_csv, write_json, write_text
from pipeline.reading import read_csv
from pipeline.records import ScoreRow
from stages import run

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


@pytest.fixture
def ended():
    """The number of a process that has ended."""
    return int(subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True).stdout)


def test_folders_of_killed_writers_are_swept_and_those_of_others_stay(tmp_path, ended):
    for number in (ended, os.getppid()):
        (tmp_path / f".set.{MACHINE}.{number}.tmp").mkdir()
        (tmp_path / f".set.{MACHINE}.{number}.tmp/a.png").touch()
    (tmp_path / f".params.yaml.{MACHINE}.{ended}.tmp.yaml").touch()
    sweep([tmp_path])
    assert [path.name for path in tmp_path.iterdir()] == [f".set.{MACHINE}.{os.getppid()}.tmp"]


def test_processes_that_write_one_folder_do_not_disturb_each_other(tmp_path, ended):
    left = tmp_path / f".set.{MACHINE}.{ended}.tmp"
    left.mkdir()
    with atomic_folder(tmp_path / "set") as mine, pytest.MonkeyPatch.context() as patch:
        assert not left.exists()
        (mine / "mine").touch()
        patch.setattr(os, "getpid", os.getppid)  # a second process that is alive
        with atomic_folder(tmp_path / "set") as other:
            (other / "other").touch()
        assert (mine / "mine").exists() and os.listdir(tmp_path / "set") == ["other"]
    assert os.listdir(tmp_path) == ["set"] and os.listdir(tmp_path / "set") == ["mine"]


def test_a_folder_that_another_puts_in_place_at_the_same_moment_is_replaced(tmp_path, monkeypatch):
    replace, late = os.replace, []

    def replaced_by_another(source, destination):
        if not late:
            late.append(destination.mkdir())
            (destination / "other").touch()
        replace(source, destination)

    monkeypatch.setattr(os, "replace", replaced_by_another)
    with atomic_folder(tmp_path / "set") as mine:
        (mine / "mine").touch()
    assert os.listdir(tmp_path / "set") == ["mine"]


def test_a_stage_passes_over_folders_that_vanish(tmp_path, monkeypatch):
    for name in ("a", "vanishing"):
        (tmp_path / "data" / name).mkdir(parents=True)
    scandir = os.scandir

    def scandir_too_late(path):
        if Path(path).name == "vanishing":
            Path(path).rmdir()  # another stage, a moment before
        return scandir(path)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "scandir", scandir_too_late)
    monkeypatch.setattr(run, "run_program", lambda main: None)
    run.stage(print)
    assert os.listdir("data") == ["a"]


def test_what_others_write_stays(tmp_path):
    others = [".whole.json.00000000.1.tmp", ".notes.tmp", "a.tmp"]  # of another machine, and of other programs
    for name in others:
        (tmp_path / name).write_text("")
    with atomic(tmp_path / "whole.json") as temporary:
        temporary.write_text("being written")
        sweep([tmp_path, tmp_path / "missing"])
        assert temporary.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "whole.json"])


def test_a_table_without_rows_is_read_as_one(tmp_path):
    write_csv(tmp_path / "a.csv", [])
    assert read_csv(tmp_path / "a.csv", ScoreRow) == []


def test_a_failure_leaves_the_file_before(tmp_path):
    path = tmp_path / "value.json"
    write_text(path, "before")
    with pytest.raises(ValueError, match="Out of range float values"):
        write_json(path, float("nan"))
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["value.json"]


def test_a_folder_and_a_device_are_refused_before_anything_is_written(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null"), Path("/dev/stdout")):
        with pytest.raises(InputError, match="not a regular file; choose another name"):
            write_text(path, "text")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        check_writable(tmp_path / "file" / "below.json")
    assert os.path.exists("/dev/null") and not Path("/dev/null").is_file()


def test_names_as_long_as_the_file_system_allows_are_written(tmp_path):
    path = tmp_path / f"{'写' * 83}.json"
    write_text(path, "text")
    assert path.read_text() == "text" and len(os.fsencode(path.name)) == 254


def test_a_leftover_that_cannot_be_removed_or_is_of_no_process_stops_nothing(tmp_path, ended, monkeypatch):
    unremovable = tmp_path / f".a.{MACHINE}.{ended}.tmp"
    unremovable.touch()
    (tmp_path / f".b.{MACHINE}.{10**20}.tmp").touch()

    def unlink(path, missing_ok=False):
        if path == unremovable:
            raise PermissionError
        os.unlink(path)

    monkeypatch.setattr(Path, "unlink", unlink)
    sweep([tmp_path])
    assert os.listdir(tmp_path) == [unremovable.name]
