"""Measure what rounding the input of each layer costs by itself; write docs/rounding.csv and docs/rounding.md.

Each published binary network is run by the engine with one layer at a time rounded and all others exact, on validation
images; of networks that differ only in their training, one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from pipeline import labels
from pipeline.data.prepared import ImagePair
from pipeline.data.ready import ready
from pipeline.data.samples import lr_crops
from pipeline.engine.calibration import calibrate
from pipeline.engine.layers import layers_of
from pipeline.engine.networks import Architecture
from pipeline.engine.ops import EngineOps
from pipeline.engine.quantization import Rounding
from pipeline.engine.ranges import BITS, roundings_of
from pipeline.files import write_csv, write_text
from pipeline.metrics import bounded_psnr
from pipeline.packed import PackedNetwork, read
from pipeline.params import load_params
from pipeline.program import run_program
from pipeline.runs import Activations
from pipeline.tables import Column, table
from pipeline.upscaling import upscale_image
from pipeline.zoo.catalogue import ZOO, chosen_networks

KINDS: tuple[Activations, ...] = ("int8", "int6")
SHOWN = 3  # layers of each network and number of bits on the page

Image = NDArray[np.uint8]


def layer_losses(packed: PackedNetwork, crops: Sequence[Image], images: Sequence[ImagePair]) -> list[dict[str, Any]]:
    """Measure the loss of each layer's rounding by itself.

    Parameters
    ----------
    packed : PackedNetwork
        With binary layers.
    crops : sequence of uint8, shape (h, w, 3)
        LR images, on which the ranges of all layers are measured: from the smallest to the largest activation.
    images : sequence of pairs of uint8 arrays
        LR and HR images.

    Returns
    -------
    list of dict
        ``layer``; ``filters``, binary or float; ``bits`` of its input; ``loss_db``, the PSNR-Y that it costs, a mean
        over the images. Float layers have 8-bit inputs and filters; the first layer is left out, since it is never
        rounded.
    """
    architecture = Architecture.of(packed)
    layers = layers_of(packed, architecture)
    ranges = calibrate(packed, crops, exact_layers={})

    def quality(roundings: Mapping[str, Rounding]) -> float:
        values, ops = [], EngineOps(layers, roundings)
        for lr, hr in images:
            sr = upscale_image(partial(architecture.forward, ops), lr, architecture.model, architecture.scale)
            values.append(bounded_psnr(sr, hr, border=architecture.scale))
        return float(np.mean(values))

    ranged = replace(packed, metadata={"activations": ranges})
    exact = quality({})
    rows = []
    for kind in KINDS:
        for name, rounding in roundings_of(ranged, layers, kind, "int8").items():
            if layers[name].binary or kind == "int8":  # float layers have 8 bits in both
                filters = "binary" if layers[name].binary else "float"
                loss = round(exact - quality({name: rounding}), 4)
                rows.append({"layer": name, "filters": filters, "bits": BITS[kind], "loss_db": loss})
    return rows


def page(rows: Sequence[dict[str, Any]]) -> str:
    """Return the layers that cost most as Markdown, with the sum over all others."""
    shown = []
    for (network, bits), group in pd.DataFrame(list(rows)).groupby(["network", "bits"], sort=False):
        ordered = group.sort_values("loss_db", ascending=False, kind="stable").to_dict("records")
        rest = ordered[SHOWN:]
        others = {"layer": f"the other {len(rest)}", "loss_db": sum(row["loss_db"] for row in rest)}
        shown += [row | {"network": network, "bits": bits} for row in (*ordered[:SHOWN], others)]
    columns = {
        "network": Column("network"),
        "bits": Column("bits", str, "n"),
        "layer": Column("layer"),
        "loss_db": Column("loss, dB", lambda value: labels.number(value, 3), "n"),
    }
    return "\n".join(
        [
            "# What rounding costs, layer by layer",
            "",
            "The PSNR-Y that a binary network loses when one layer is rounded (its input, and a float layer’s filters",
            "too) and all others stay exact:",
            f"the {SHOWN} layers that cost most, and the sum of what the others cost, each by itself. Ranges are from",
            "the smallest to the largest activation on training crops; the loss is the mean over validation images.",
            "Written by `make rounding`; [rounding.csv](rounding.csv) has all layers.",
            "",
            table("rounding", "Rounding layer by layer", columns, shown).markdown(),
            "",
        ]
    )


def main(
    params_file: Annotated[
        Path, typer.Option("--params", help="A whole params file, as python -m pipeline.profiles writes it.")
    ] = Path("zoo", "cpu.yaml"),
    models: Annotated[
        list[str] | None, typer.Option(metavar="NAME…", help="Networks. Default: a binary one of each model and scale.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where rounding.csv and rounding.md are written.")] = Path("docs"),
) -> None:
    params = load_params(params_file)
    crops, images = (ready(name, params.data.mirror) for name in (params.data.train, params.data.validation))
    rows: list[dict[str, Any]] = []
    for network in chosen_networks(ZOO, models):
        of_calibration = params.export.calibration_crop, params.export.calibration_images, params.seed
        losses = layer_losses(
            read(network.path(ZOO)),
            lr_crops(crops, network.scale, *of_calibration),
            images.pairs(params.data.validation_images, (network.scale,)),
        )
        worst = max(losses, key=lambda row: row["loss_db"])
        print(f"{network.name}: {worst['layer']} costs most, {worst['loss_db']} dB", flush=True)
        rows += [{"network": network.name, **row} for row in losses]
    write_csv(out / "rounding.csv", rows)
    write_text(out / "rounding.md", page(rows))


if __name__ == "__main__":
    run_program(main)
