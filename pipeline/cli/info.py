"""`binsr info`: describe a packed network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pipeline.cli.networks import find_network
from pipeline.cli.output import print_json, print_table
from pipeline.engine.layers import layers_of
from pipeline.engine.networks import Architecture
from pipeline.engine.ranges import BITS
from pipeline.errors import InputError
from pipeline.packed import PackedNetwork, read, sizes, tensor_bytes
from pipeline.packed_rules import BITS_SUFFIX


def show_info(model: str, as_json: bool) -> None:
    """Print the description of a published network or a packed file."""
    network = find_network(model)
    about = {"name": network.name} | describe(network.path)
    if as_json:
        print_json(about)
        return
    print_table(
        ["layer", "kind", "shape", "bits per weight", "bytes"],
        [
            [
                layer["name"],
                layer["kind"],
                "×".join(map(str, layer["shape"])),
                f"{layer['bits_per_weight']:.2f}",
                f"{layer['bytes']:,}",
            ]
            for layer in about["layers"]
        ],
    )
    print(f"\n{_totals(about)}")


def describe(path: Path) -> dict[str, Any]:
    """Describe a packed network.

    Returns
    -------
    dict
        ``network`` (its configuration), ``layers`` in execution order (``name``, ``kind``, ``shape``
        (O, I, k, k), ``bits_per_weight`` with scales and padding, ``bytes``), ``bytes`` (``file``, ``binary``,
        ``float``, ``other``, ``header``), ``weights`` (filters: ``binary``, ``float``), ``float32_bytes`` (all numbers
        of the network as float32), ``compression`` (how many times the file is smaller), ``activations`` that the
        engine supports for it, ``mode`` (its default one), and ``training``.

    Raises
    ------
    InputError
        If the file is not a packed network.
    """
    packed = read(path)
    try:
        order = layers_of(packed, Architecture.of(packed))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    stored = tensor_bytes(packed)
    layers = [_layer(name, packed, stored) for name in order]
    weights = {kind: sum(math.prod(e["shape"]) for e in layers if e["kind"] == kind) for kind in ("binary", "float")}
    # A float network has no scales of binary filters.
    others = sum(value.size for name, value in packed.tensors.items() if value.ndim != 4 and not _is_scale(name))
    file, by_kind = path.stat().st_size, sizes(packed)["layers"]
    float32 = 4 * (sum(weights.values()) + others)
    return {
        "file": str(path),
        "network": packed.config,
        "layers": layers,
        "weights": weights,
        "bytes": {"file": file, **by_kind, "header": file - sum(by_kind.values())},
        "float32_bytes": float32,
        "compression": round(float32 / file, 3),
        "activations": _activations(packed),
        "mode": packed.metadata.get("mode"),
        "training": packed.metadata.get("training"),
    }


def _layer(name: str, packed: PackedNetwork, stored: dict[str, int]) -> dict[str, Any]:
    if name in packed.binary:
        kind, shape = "binary", packed.binary[name].shape
        size = stored[f"{name}{BITS_SUFFIX}"] + stored[f"{name}.alpha"]
    else:
        kind, shape = "float", packed.tensors[f"{name}.weight"].shape
        size = stored[f"{name}.weight"]
    bits = round(8 * size / math.prod(shape), 3)
    return {"name": name, "kind": kind, "shape": list(shape), "bits_per_weight": bits, "bytes": size}


def _is_scale(name: str) -> bool:
    return name.endswith(".alpha")


def _activations(packed: PackedNetwork) -> list[str]:
    ranges = packed.metadata.get("activations") or {}
    return ["float32", *(kind for kind in BITS if packed.binary and set(packed.binary) <= set(ranges.get(kind) or ()))]


def _totals(about: dict[str, Any]) -> str:
    weights, sizes = about["weights"], about["bytes"]
    config = ", ".join(f"{key} {value}" for key, value in about["network"].items())
    parts = ", ".join(f"{sizes[kind]:,} {kind}" for kind in ("binary", "float", "other", "header"))
    lines = [
        ("network", config),
        ("weights", f"{weights['binary']:,} binary, {weights['float']:,} float"),
        ("bytes", f"{sizes['file']:,}: {parts}"),
        ("in float32", f"{about['float32_bytes']:,} bytes, {about['compression']:.2f} times the file"),
        ("activations", ", ".join(about["activations"])),
        *_mode(about["mode"]),
        *_provenance(about["training"]),
    ]
    return "\n".join(f"{name:12} {text}" for name, text in lines)


def _mode(mode: Any) -> list[tuple[str, str]]:
    if mode is None:
        return []
    loss = f"loses {mode['loss_db']} dB on the validation images"
    return [("default mode", f"{mode['activations']} activations, float layers {mode['float_layers']}; {loss}")]


def _provenance(training: Any) -> list[tuple[str, str]]:
    if not isinstance(training, dict):
        return [("training", "not recorded")]
    imported = training.get("imported") or {}
    fields = {
        "imported": imported.get("address"),
        "licence": imported.get("licence"),
        "trained on": training.get("training_set"),
        "iterations": training.get("iterations"),
        "start": training.get("start"),
        "seed": training.get("seed"),
        "profile": (training.get("plan") or {}).get("profile"),
        "device": training.get("device"),
        "commit": (training.get("environment") or {}).get("commit"),
    }
    return [(name, str(value)) for name, value in fields.items() if value is not None]
