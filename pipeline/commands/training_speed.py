"""Training speed on this machine, and the effect of layout, algorithm, precision and compilation on it.

Each variant runs whole iterations (crops cut from the data set on the device, forward, backward, Adam) in turns with
the others. Its rate of arithmetic is compared with that of one large matrix product in the same precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.benchmark.timing import alternate, ratios, summary
from pipeline.data.crops import Crops
from pipeline.data.prepared import PreparedSet
from pipeline.data.ready import ready
from pipeline.errors import InputError
from pipeline.files import check_writable, write_json
from pipeline.inference import channels_last, exact_float32, no_compiler
from pipeline.models import build
from pipeline.networks import NETWORKS
from pipeline.provenance import cpu_model, environment
from pipeline.runs import MODELS, Scale
from pipeline.training.winograd import MOST_THREADS, winograd

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
PATCH, PATCH_ON_LUMA = 24, 10  # sides of crops in LR pixels: at ×4 they are those of the papers of SRResNet and VDSR
MATRIX = {"cpu": 2048, "cuda": 8192}  # rows and columns of the matrices whose product sets the limit


@dataclass(frozen=True)
class Variant:
    """One set of settings whose training speed is measured."""

    name: str
    threads: int
    batch: int
    patch: int  # LR pixels
    layout: str = "default"
    winograd: bool = False
    precision: str = "float32"
    compiled: bool = False


def variants(threads: int, batch: int, patch: int, bfloat16: bool = True, compiled: bool = True) -> Iterator[Variant]:
    """Yield the variants: each adds one change to the one before, except that bfloat16 replaces Winograd's algorithm.

    The last two change the crops instead. `bfloat16` and `compiled` tell whether to include the variants of that name.
    """
    start = Variant("one thread", 1, batch, patch)
    yield start
    yield (start := replace(start, name=f"{threads} threads", threads=threads))
    yield (start := replace(start, name="channels_last", layout="channels_last"))
    if threads <= MOST_THREADS:
        yield replace(start, name="Winograd", winograd=True)
    if bfloat16:
        yield (start := replace(start, name="bfloat16", precision="bfloat16"))
    if compiled:
        yield replace(start, name="compiled", compiled=True)
    yield replace(start, name="twice the crops", batch=2 * batch)
    yield replace(start, name="crops of two thirds the side", patch=2 * patch // 3)


def measure(
    model: str, scale: int, prepared: PreparedSet, chosen: list[Variant], device: torch.device, repeats: int
) -> list[dict[str, Any]]:
    """Time an iteration of each variant, and count its arithmetic.

    Returns
    -------
    list of dict
        The variant's fields, the milliseconds of `pipeline.benchmark.timing.summary`, ``images_per_second``,
        ``lr_pixels_per_second``, ``gflop`` of an iteration, ``gflops`` a second, ``share_of_matrix_rate`` (of what one
        matrix product reaches with its threads and precision) and ``speedup`` in LR pixels a second over the first.
    """
    steps = {variant.name: _step(model, scale, prepared, variant, device) for variant in chosen}
    seconds = alternate({name: step for name, (step, _) in steps.items()}, repeats, warmup=2)
    rates = {
        key: _matrix_rate(*key, device, repeats) for key in {(variant.threads, variant.precision) for variant in chosen}
    }
    speeds = ratios(seconds, chosen[0].name)
    rows = []
    for variant in chosen:
        times, gflop = summary(seconds[variant.name]), steps[variant.name][1] / 1e9
        second = times.median_ms / 1000
        pixels = variant.batch * variant.patch**2
        more_pixels = pixels / (chosen[0].batch * chosen[0].patch ** 2)
        rows.append(
            vars(variant)
            | asdict(times)
            | {
                "images_per_second": round(variant.batch / second, 2),
                "lr_pixels_per_second": round(pixels / second),
                "gflop": round(gflop, 3),
                "gflops": round(gflop / second, 1),
                "share_of_matrix_rate": round(gflop / second / rates[variant.threads, variant.precision], 4),
                "speedup": round(more_pixels * speeds[variant.name], 3),
            }
        )
    return rows


def _step(
    model: str, scale: int, prepared: PreparedSet, variant: Variant, device: torch.device
) -> tuple[Callable[[], None], int]:
    """Return a training iteration, and its number of floating-point operations (a multiply-add counts as two)."""
    torch.manual_seed(0)
    module = build(model, scale).to(device)
    if variant.layout == "channels_last":
        module = channels_last(module)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4)
    crops = Crops(prepared, scale, variant.patch, NETWORKS[model].on_luma, device)
    network: Any = torch.compile(module) if variant.compiled else module
    rng = np.random.default_rng(0)

    def iterate(network: Callable[[Tensor], Tensor] = network, counts: bool = False) -> None:
        torch.set_num_threads(variant.threads)
        inputs, targets = crops.batch(rng, variant.batch)
        if variant.layout == "channels_last":
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        convolutions = winograd(module) if variant.winograd and not counts else nullcontext()
        with torch.autocast(device.type, torch.bfloat16, enabled=variant.precision == "bfloat16"), convolutions:
            outputs = network(inputs)
        loss = nn.functional.l1_loss(outputs.float(), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    with FlopCounterMode(display=False) as counter:
        iterate(module, counts=True)  # those of plain convolutions, whichever algorithm computes them
    return iterate, counter.get_total_flops()


def _matrix_rate(threads: int, precision: str, device: torch.device, repeats: int) -> float:
    """Return the rate of the faster of `_products`, in 10⁹ floating-point operations per second."""
    torch.set_num_threads(threads)
    size = MATRIX[device.type]

    def finished(product: Callable[[], Tensor]) -> Callable[[], None]:
        def run() -> None:
            with torch.inference_mode():
                product()
            if device.type == "cuda":
                torch.cuda.synchronize()

        return run

    products = {name: finished(product) for name, product in _products(size, DTYPES[precision], device).items()}
    seconds = alternate(products, repeats, warmup=2)
    return 2 * size**3 / min(map(median, seconds.values())) / 1e9


def _products(size: int, dtype: torch.dtype, device: torch.device) -> dict[str, Callable[[], Tensor]]:
    """Return two ways to multiply `size`×`size` matrices: by PyTorch's matrix library, and by its convolution library.

    The first may not use a processor fully: on AMD's, MKL multiplies float32 at half their vector width. PyTorch uses
    the second for 1×1 convolutions of 16 images or more.
    """
    images = 16
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    columns = a.reshape(size, images, size // images, 1).transpose(0, 1)
    pixels = columns.contiguous(memory_format=torch.channels_last)
    filters = b.reshape(size, size, 1, 1).contiguous(memory_format=torch.channels_last)
    return {"mm": lambda: torch.mm(b, a), "convolution": lambda: nn.functional.conv2d(pixels, filters)}


def no_bfloat16(device: torch.device) -> str | None:
    """Return why products in bfloat16 would be slower than in float32 on this device, or None if they are not."""
    if device.type == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
        return None
    return "the processor has no instructions for it, and imitates it many times slower"


def main(
    file: Annotated[Path, typer.Option("--json", help="Where the measurements go.")],
    models: Annotated[list[str] | None, typer.Option(metavar="NAME…", help="Default: all.")] = None,
    scale: Annotated[Scale, typer.Option()] = 4,
    set_name: Annotated[str, typer.Option("--set", help="Where crops come from.")] = "embedded-train",
    batch: Annotated[int, typer.Option(min=1)] = 8,
    repeats: Annotated[int, typer.Option(min=1)] = 7,
) -> None:
    if unknown := sorted({*(models or ())} - {*MODELS}):
        raise InputError(f"--models: has {', '.join(unknown)}; choose from {', '.join(MODELS)}")
    check_writable(file)
    exact_float32()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    threads = torch.get_num_threads()
    missing = {"bfloat16": no_bfloat16(device), "compiled": no_compiler()}
    for name, reason in missing.items():
        if reason is not None:
            print(f"{name}: left out, {reason}")
    available = {name: reason is None for name, reason in missing.items()}
    measured, prepared = {}, ready(set_name)
    for model in models or MODELS:
        patch = PATCH_ON_LUMA if NETWORKS[model].on_luma else PATCH
        chosen = list(variants(threads, batch, patch, **available))
        measured[model] = measure(model, scale, prepared, chosen, device, repeats)
        for row in measured[model]:
            print(
                f"{model:9} {row['name']:28} {row['median_ms']:8.1f} ms {row['images_per_second']:8.1f} images/s "
                f"{row['gflops']:8.1f} GFLOP/s, {100 * row['share_of_matrix_rate']:5.1f} % of a matrix product's; "
                f"{row['speedup']:.2f} times the first"
            )
    name = torch.cuda.get_device_name() if device.type == "cuda" else cpu_model()
    about = {"device": name, "scale": scale, "set": set_name, "environment": environment()}
    write_json(file, about | {"models": measured})
