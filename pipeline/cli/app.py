"""The commands of `binsr` with their options; each one's work is in the module of its name.

Those modules are imported when they are called: help and completion come at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from pipeline.cli.output import unusable
from pipeline.errors import InputError, one_line_errors
from pipeline.program import invoke

Activations = Literal["float32", "int8", "int6", "int1"]
FloatLayers = Literal["float32", "int8"]
Format = Literal["png", "jpeg", "webp", "tiff", "bmp"]

app = typer.Typer(
    help="Upscale images with binarized super-resolution networks, on the CPU; see what the networks are and score.",
    epilog="Exit codes: 0 done, 2 wrong input (one line on standard error for each), 130 interrupted.",
    pretty_exceptions_enable=False,
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; by default with the program's own arguments."""
    code: int | None = None
    with one_line_errors():
        try:
            code = invoke(app, "binsr", arguments)
            sys.stdout.flush()  # a reader that is gone, such as head, shows here
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where Python flushes the rest at its end
            code = 1
        except OSError as error:
            raise InputError(unusable(error)) from error
        except MemoryError as error:
            raise InputError("takes more memory than there is; give a smaller image, --size or --tile") from error
        except KeyboardInterrupt:
            code = 130
    sys.exit(code)


def _names() -> list[str]:
    """Completion of --model: the names in the zoo's index."""
    from pipeline.cli.networks import zoo_folder
    from pipeline.zoo.catalogue import read_index

    try:
        return [model.name for model in read_index(zoo_folder())]
    except InputError:
        return []


Network = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME-OR-FILE",
        help="A published network (binsr models lists them) or a packed .safetensors file. "
        "Default: the binary one for the scale, SRResNet if there are several.",
        autocompletion=_names,
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads to run on. Default: all cores.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output instead.")]


def _version(wanted: bool) -> None:
    if wanted:
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
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
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
            help="Images (PNG, JPEG, WebP, TIFF, BMP), folders (with all below them), patterns such as 'photos/*.jpg'.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="For one image, the image to write; else, or without a suffix, a folder: names are kept.",
            show_default=False,
        ),
    ],
    model: Network = None,
    scale: Annotated[
        int | None, typer.Option(min=2, max=4, help="2, 3 or 4. Default: the network's, or 4.", show_default=False)
    ] = None,
    activations: Annotated[
        Activations,
        typer.Option(
            metavar="TYPE",
            help="What binary layers read: float32, int8, int6 or int1. float32 is the network exactly; int8 and int6 "
            "are faster and lose a little (binsr bench and binsr models show it); int1 is for networks trained so.",
        ),
    ] = "float32",
    float_layers: Annotated[
        FloatLayers,
        typer.Option(metavar="TYPE", help="What all other layers compute with: float32 or int8, which is faster."),
    ] = "float32",
    threads: Threads = None,
    tile: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Side of the parts that larger images are computed in: less needs less memory, the result is the "
            "same. Default: 1024, which takes some 7 GiB with SRResNet at scale 4; 256 takes 1.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option(
            metavar="NAME",
            help="Format of the images written: png, jpeg, webp, tiff or bmp. Default: the input's.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Overwrite outputs that exist; without it they are skipped.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Upscale images.

    Alpha, 16-bit grey, orientation and colour profiles are kept where the format can hold them; a note says where not.
    An image that cannot be read or written is named, and the others are still upscaled.
    """
    from pipeline.cli.upscale import Settings, upscale_files

    return upscale_files(
        inputs, out, Settings(model, scale, activations, float_layers, threads, tile, format, overwrite), as_json
    )


@app.command()
def models(as_json: Json = False) -> None:
    """List the published networks with their size and scores."""
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
    model: Network = None,
    size: Annotated[str, typer.Option(metavar="HxW", help="Height and width of the LR image.")] = "128x128",
    threads: Threads = None,
    repeats: Annotated[int, typer.Option(min=3, max=1000, help="Timed runs of each, in turns.")] = 9,
    as_json: Json = False,
) -> None:
    """Time a network on this machine in the engine's modes, and its float twin in PyTorch where that is installed.

    python -m pipeline.engine.bench compares with more runtimes, on single layers too.
    """
    from pipeline.cli.bench import show_bench

    show_bench(model, size, threads, repeats, as_json)


@app.command()
def compare(
    one: Annotated[Path, typer.Argument(metavar="A", help="An image or a folder.", show_default=False)],
    other: Annotated[Path, typer.Argument(metavar="B", help="What it is compared with.", show_default=False)],
    border: Annotated[
        int, typer.Option(min=0, help="Pixels left out at each side; papers leave out as many as the scale.")
    ] = 0,
    as_json: Json = False,
) -> int:
    """Measure PSNR and SSIM between two images, or between the images of two folders.

    Images of folders belong together when their names below the folder are equal but for the suffix. Y is luma by
    ITU-R BT.601, as papers measure it.
    """
    from pipeline.cli.compare import show_comparison

    return show_comparison(one, other, border, as_json)
