"""What a terminal, a pipe or a disk does to a command, and what file names do to a terminal."""

import os
import subprocess
import sys
from io import BytesIO

import pytest
from PIL import Image

from pipeline.errors import printable
from tests.conftest import ROOT
from tests.small import picture

FULL = "/dev/full"


def run(folder, command):
    """Run a shell command in which `binsr` is the command line."""
    command = f'binsr() {{ "{sys.executable}" -m pipeline "$@"; }}; {command}'
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def photo(tmp_path, network):
    Image.fromarray(picture(0, 8, 9)).save(tmp_path / "a.png")
    (tmp_path / "model").symlink_to(network)
    return tmp_path


def test_a_full_or_closed_standard_error_changes_no_exit_code(photo):
    for redirection in ("2>/dev/full", "2>&-", "2>&- >&- <&-"):
        assert run(photo, f"binsr info missing {redirection}").returncode == 2
        done = run(photo, f"binsr upscale a.png -o out --model ./model --overwrite {redirection}")
        assert done.returncode == 0, done
        assert Image.open(photo / "out/a.png").size == (18, 16)


def test_what_cannot_be_printed_is_one_line(photo):
    done = run(photo, f"binsr info ./model >{FULL}")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "No space left" in done.stderr and done.stderr.count("\n") == 1
    done = run(photo, "binsr info ./model >&-")
    assert (done.returncode, done.stderr) == (0, "")
    done = run(photo, f'"{sys.executable}" -m pipeline.cluster plan --help >{FULL}')
    assert done.returncode == 2 and "No space left" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("upscale", "", "-o", "out"), "an argument"),
        (("upscale", "a.png", "-o", ""), "-o"),
        (("upscale", "a.png", "--output="), "--output"),
        (("upscale", "a.png", "-o", "out", "--model", ""), "--model"),
        (("compare", "a.png", ""), "an argument"),
    ],
)
def test_an_empty_argument_is_named(photo, monkeypatch, binsr, arguments, named):
    monkeypatch.chdir(photo)
    done = binsr(*arguments)
    assert done.code == 2 and done.err.startswith(f"error: {named}: is empty;"), done.err
    assert not (photo / "out").exists()


def test_what_nohup_ignores_stays_ignored():
    hang_up = "import os, signal; from pipeline.cli.app import _ended_by_signals\n"
    hang_up += "with _ended_by_signals(): os.kill(os.getpid(), signal.SIGHUP)\n"
    hang_up += "print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    command = ["sh", "-c", 'trap "" HUP; exec "$0" "$@"', sys.executable, "-c", hang_up]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_a_pipe_is_no_image(photo, monkeypatch, binsr, network):
    monkeypatch.chdir(photo)
    os.mkfifo("pipe.png")
    for place in ("pipe.png", "/dev/null"):
        done = binsr("upscale", place, "-o", "out", "--model", network)
        assert done.code == 2 and f"error: {place}: is a pipe or a device" in done.err
    assert binsr("upscale", ".", "-o", "out", "--model", network).code == 0  # left out, as in any folder


def test_links_that_lead_to_themselves(photo, monkeypatch, binsr, network):
    monkeypatch.chdir(photo)
    for name in ("loop.png", "loop"):
        (photo / name).symlink_to(photo / name)
    done = binsr("upscale", "loop.png", "-o", "out", "--model", network)
    assert done.code == 2 and done.err.count("\n") == 1
    for out in ("loop", "loop/b.png"):
        done = binsr("upscale", "a.png", "-o", out, "--model", network)
        assert done.code == 2 and done.err.count("\n") == 1, done.err
    assert binsr("upscale", ".", "-o", "out", "--model", network).code == 0


@pytest.mark.parametrize("name", ["a\nb.png", "\x1b[31mred.png", "\u202egnp.png", "\udcff.png"])
def test_a_file_name_cannot_command_the_terminal(photo, monkeypatch, binsr, network, name):
    monkeypatch.chdir(photo)
    (photo / name).write_text("no image")
    for arguments in ((name,), (".",)):
        done = binsr("upscale", *arguments, "-o", "out", "--model", network)
        assert done.code == 2 and done.err.count("\n") == 1 and printable(name) in done.err
        assert all(c.isprintable() or c == "\n" for c in done.err + done.out)


def test_libraries_of_image_formats_print_nothing(photo):
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "group4"):
        image = Image.fromarray(picture(0, 40, 40)).convert("1" if compression == "group4" else "RGB")
        whole = BytesIO()
        image.save(whole, "TIFF", compression=compression)
        broken = bytearray(whole.getvalue())
        broken[10:40] = bytes(range(30))  # compressed pixels
        (photo / f"{compression}.tif").write_bytes(broken)
    done = run(photo, "binsr upscale *.tif -o out --model ./model")
    assert done.returncode == 2 and "cannot be read as an image" in done.stderr
    assert all(line.startswith(("error: ", "note: ")) for line in done.stderr.splitlines()), done.stderr
