"""The commands of `binsr` with their options; the module of the same name implements each command.

These modules are imported only when a command runs, so that help and completion appear at once.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from pipeline.cli.output import unusable
from pipeline.errors import InputError, one_line_errors
from pipeline.program import invoke
from pipeline.runs import Activations, FloatLayers

Format = Literal["png", "jpeg", "webp", "tiff", "bmp"]

app = typer.Typer(
    help="Upscale images with binarized super-resolution networks, on the CPU; list, inspect and time the networks.",
    epilog="Exit codes: 0 done, 2 wrong input or a failed image (one line on standard error for each), 130 "
    "interrupted.",
    pretty_exceptions_enable=False,
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, by default with the arguments of this process."""
    code: int | None = None
    with one_line_errors(), _ended_by_signals():
        try:
            code = invoke(app, "binsr", arguments)
            sys.stdout.flush()  # a disk that is full shows here
        except BrokenPipeError:
            raise
        except OSError as error:
            raise InputError(unusable(error)) from error
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "allocate memory" not in str(error):  # PyTorch's MemoryError
                raise
            raise InputError("memory: not enough; give a smaller image, or a smaller --size or --tile") from error
        except KeyboardInterrupt:
            code = 130
    sys.exit(code)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program as an exception does, so that no temporary file is left.

    One that is ignored stays so: nohup ignores SIGHUP for the programs that it starts.
    """

    def end(number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    heeded = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _names() -> list[str]:
    """Complete `--model` with the names in the zoo's index."""
    from pipeline.cli.networks import zoo_folder
    from pipeline.zoo.catalogue import read_index

    try:
        return [model.name for model in read_index(zoo_folder())]
    except InputError:
        return []


NetworkOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME-OR-FILE",
        help="A published network (see binsr models) or a packed .safetensors file. "
        "Default: of the main and long binary networks for the scale, the one with the highest published PSNR-Y.",
        autocompletion=_names,
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, help="Number of threads. Default: all cores.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to standard output instead.")]


def _show_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"binsr {version('binsr')}")
        except PackageNotFoundError:
            print("binsr, not installed")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _binsr(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def upscale(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="IN",
            help="Images (PNG, JPEG, WebP, TIFF, BMP), folders (and subfolders), patterns such as 'photos/*.jpg'; "
            "or addresses such as s3://bucket/photos.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="The image to write, for one input image; otherwise, or without a suffix, a folder: names are kept.",
            show_default=False,
        ),
    ],
    model: NetworkOption = None,
    scale: Annotated[
        int | None, typer.Option(min=2, max=4, help="2, 3 or 4. Default: the network's, or 4.", show_default=False)
    ] = None,
    activations: Annotated[
        Activations,
        typer.Option(
            metavar="TYPE",
            help="Inputs of the binary layers: auto, float32, int8, int6 or int1. float32 is exact; int8 and int6 are "
            "faster and lose a little accuracy (see binsr bench and binsr models); int1 is for networks trained with "
            "it; auto is the network's default: the first mode, in the order of expected speed, that loses at most "
            "0.01 dB on the validation images (see binsr info).",
        ),
    ] = "auto",
    float_layers: Annotated[
        FloatLayers | None,
        typer.Option(
            metavar="TYPE",
            help="Arithmetic of all other layers but the first, which stays in float32: float32; bfloat16, on "
            "processors with AVX-512 BF16; or int8 (see binsr bench). Default: the network's with --activations auto, "
            "else float32.",
            show_default=False,
        ),
    ] = None,
    threads: Threads = None,
    tile: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Side of the tiles that larger images are cut into, in pixels of the network's input (for VDSR, the "
            "enlarged image). Smaller tiles need less memory and give the same result. Default: 560, with which the "
            "published networks need less than 1 GiB beside both images and Pillow's copy of the larger one.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option(
            metavar="NAME",
            help="Output format: png, jpeg, webp, tiff or bmp. Default: that of the input.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing outputs, which are otherwise skipped.")
    ] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Spread the images over the workers of a Dask scheduler, as in tcp://HOST:8786. Local paths must be "
            "the same on every worker.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Upscale images.

    Transparency, 16-bit grey, EXIF data and colour profiles are kept if the output format can hold them; a note says
    if not. The EXIF orientation is applied.
    An image that cannot be read or written is reported, and the others are still upscaled.
    """
    from pipeline.cli.upscale import UpscaleOptions, upscale_files

    options = UpscaleOptions(model, scale, activations, float_layers, threads, tile, format, overwrite)
    return upscale_files(inputs, out, options, as_json, scheduler)


@app.command()
def models(as_json: Json = False) -> None:
    """List the published networks with their sizes and scores."""
    from pipeline.cli.models import show_models

    show_models(as_json)


@app.command()
def info(
    model: Annotated[
        str,
        typer.Argument(
            metavar="FILE-OR-NAME",
            help="A packed .safetensors file or a published network.",
            autocompletion=_names,
            show_default=False,
        ),
    ],
    as_json: Json = False,
) -> None:
    """Show a network's layers, bytes, compression, activation ranges and training."""
    from pipeline.cli.info import show_info

    show_info(model, as_json)


@app.command()
def bench(
    model: NetworkOption = None,
    size: Annotated[str, typer.Option(metavar="HxW", help="Height and width of the LR image.")] = "128x128",
    threads: Threads = None,
    repeats: Annotated[
        int,
        typer.Option(
            min=3, max=1000, help="Timed runs of each backend, in turns, at most; fewer once they have taken 10 s."
        ),
    ] = 9,
    as_json: Json = False,
) -> None:
    """Time a network on this machine in the engine's modes, and its float twin in PyTorch if that is installed.

    python -m pipeline.engine.bench has more baselines, and times single layers too.
    """
    from pipeline.cli.bench import show_bench

    show_bench(model, size, threads, repeats, as_json)


@app.command()
def compare(
    one: Annotated[Path, typer.Argument(metavar="A", help="An image or a folder.", show_default=False)],
    other: Annotated[
        Path, typer.Argument(metavar="B", help="The image or folder to compare it with.", show_default=False)
    ],
    border: Annotated[
        int, typer.Option(min=0, help="Pixels cut off each side; papers cut off as many as the scale.")
    ] = 0,
    as_json: Json = False,
) -> int:
    """Measure PSNR and SSIM between two images, or between the images of two folders.

    Images of two folders are paired by their path below the folder, without the suffix. Y is luma by ITU-R BT.601, as
    in papers.
    """
    from pipeline.cli.compare import show_comparison

    return show_comparison(one, other, border, as_json)
