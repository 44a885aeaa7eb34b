"""How a command-line program runs: what it takes, and what it says of arguments that are wrong."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer
from tqdm import tqdm

from pipeline.errors import InputError
from pipeline.program import run_program
from pipeline.runs import Scale
from tests.conftest import ROOT


def main(
    file: Path,
    scale: Annotated[Scale, typer.Option()],
    sets: Annotated[list[str] | None, typer.Option()] = None,
    models: Annotated[list[str] | None, typer.Option()] = None,
    everything: Annotated[bool, typer.Option("--all")] = False,
) -> None:
    if scale == 3:
        raise InputError(f"{file}: has no scale 3; give 2 or 4")
    if scale == 4:
        raise KeyboardInterrupt
    if file == Path("shown"):
        bar = tqdm(total=3)
        bar.update()
        raise InputError("shown: is wrong")
    if file == Path("full"):
        raise OSError(errno.ENOSPC, "No space left on device", "full")
    print(file, scale, sets, models, everything)


@pytest.fixture
def program(monkeypatch, capsys):
    """Run the program with arguments; gives its exit code and what it printed."""

    def run(arguments):
        monkeypatch.setattr("sys.argv", ["program", *arguments.split()])
        try:
            run_program(main)
            code = None
        except SystemExit as stopped:
            code = stopped.code
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("arguments", "taken"),
    [
        ("a --scale 2", "None None False"),
        ("a --sets A B C --scale 2 --models D", "['A', 'B', 'C'] ['D'] False"),
        ("--scale=2 a --sets A --sets B --all", "['A', 'B'] None True"),
        ("a --all --models A A --scale 2 --sets B", "['B'] ['A', 'A'] True"),
    ],
)
def test_an_option_with_a_list_takes_several_values(program, arguments, taken):
    assert program(arguments) == (None, f"a 2 {taken}\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("a", "Missing option '--scale'. Choose from: 2, 3, 4"),
        ("--scale 2", "Missing argument 'file'"),
        ("a --scale", "Option '--scale' requires an argument"),
        ("a --scale 5", "Invalid value for '--scale': '5' is not one of '2', '3', '4'"),
        ("a b --scale 2", "Got unexpected extra argument(s) (b)"),
        ("a --scale 2 --seta A", "No such option: --seta (Possible options: "),
    ],
)
def test_wrong_arguments_are_one_line_that_names_the_help(program, arguments, said):
    code, out, err = program(arguments)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert err.startswith(f"error: {said}") and "; see python -m " in err and err.endswith(" --help\n")


def test_an_error_an_interrupt_and_help_end_the_process(program):
    assert program("a --scale 3") == (2, "", "error: a: has no scale 3; give 2 or 4\n")
    assert program("a --scale 4") == (130, "", "")
    code, out, err = program("--help")
    assert code == 0 and "How a command-line program runs" in out and err == ""


def test_an_error_has_a_line_of_its_own_below_a_progress_bar(program):
    code, _, err = program("shown --scale 2")
    assert code == 2 and "1/3" in err and err.endswith("\nerror: shown: is wrong\n")


def test_a_full_disk_is_one_line(program):
    said = "error: full: the disk is full (No space left on device); make room, and run the same command again\n"
    assert program("full --scale 2") == (2, "", said)


def test_signs_that_standard_output_lacks_are_replaced(tmp_path):
    program = "from pipeline.errors import one_line_errors\nwith one_line_errors():\n    print('2 × 3')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert done.stdout == b"2 ? 3\n"
