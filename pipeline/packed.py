"""Packed networks in memory and on disk, with NumPy alone (the format is described in `pipeline.packing`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialized

from pipeline.errors import InputError
from pipeline.files import atomic
from pipeline.packed_rules import BITS_SUFFIX, check_binary, check_config, check_mode, check_tensors

FloatType = Literal["float32", "float16"]

FORMAT = 1
HEADER_KEY = "binsr"  # one key only: the order of several would differ from file to file
OBJECTS_IN_METADATA = (  # outer ones first; None, or none, stands for an empty one
    "activations",
    *(f"activations.{kind}" for kind in ("int8", "int6", "int1", "float_layers")),
    "training",
    "training.plan",
    "training.environment",
    "training.imported",
)


def pack_bits(positive: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pack filters to bits, input channels innermost.

    Parameters
    ----------
    positive : bool, shape (O, I, kh, kw)
        True where the filter is +1, False where it is -1.

    Returns
    -------
    uint8, shape (O, kh, kw, ceil(I / 8))
        Bit ``i % 8`` (the lowest is 0) of byte ``i // 8`` belongs to input channel ``i``, so that each half of a byte
        holds four neighbouring channels of one tap; the bits past I are 0.
    """
    return np.packbits(positive.transpose(0, 2, 3, 1), axis=-1, bitorder="little")


def unpack_bits(bits: NDArray[np.uint8], inputs: int) -> NDArray[np.bool_]:
    """Undo `pack_bits` for filters of `inputs` input channels; bool of shape (O, I, kh, kw)."""
    return np.unpackbits(bits, axis=-1, count=inputs, bitorder="little").transpose(0, 3, 1, 2).astype(bool)


@dataclass(frozen=True)
class PackedNetwork:
    """A packed network.

    Attributes
    ----------
    config
        What `pipeline.models.build` was called with: ``model``, ``scale``, ``weights`` and the overrides.
    metadata
        What was said of it when it was saved: training provenance, activation ranges, default mode.
    binary
        For each binary convolution its filters as bool of shape (O, I, kh, kw), True for +1.
    tensors
        All other tensors by their names in the module's state, float32; scales are ``<layer>.alpha``, shape (O,).
    float_type
        How a file holds these tensors.
    """

    config: dict[str, Any]
    metadata: dict[str, Any]
    binary: dict[str, NDArray[np.bool_]]
    tensors: dict[str, NDArray[np.float32]]
    float_type: FloatType = "float32"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of all tensors, by name; the filters of a binary convolution are its ``weight``."""
        filters = {f"{layer}.weight": signs.shape for layer, signs in self.binary.items()}
        return filters | {name: value.shape for name, value in self.tensors.items()}


def read(path: str | Path) -> PackedNetwork:
    """Read a packed network.

    Raises
    ------
    InputError
        If the file is missing, is no safetensors file, is not in this format, or has metadata of another shape.
    """
    header, raw = _read_file(Path(path))
    try:
        return _network(header, raw)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _network(header: Mapping[str, Any], raw: Mapping[str, NDArray[Any]]) -> PackedNetwork:
    """Check the header against the tensors, and unpack these."""
    check_binary(header["binary"])
    check_mode(header["metadata"].get("mode"))
    check_tensors(raw)
    binary, tensors = {}, {}
    for name, value in raw.items():
        if not name.endswith(BITS_SUFFIX):
            tensors[name] = np.ascontiguousarray(value, np.float32)
            continue
        layer = name.removesuffix(BITS_SUFFIX)
        inputs = header["binary"].get(layer)
        if inputs is None or value.dtype != np.uint8 or value.ndim != 4 or value.shape[3] != (inputs + 7) // 8:
            raise InputError(f"{name}: shape {value.shape} does not fit the header; save the network again")
        binary[layer] = unpack_bits(value, inputs)
        if f"{layer}.alpha" not in raw:
            raise InputError(f"{layer}.alpha: missing; save the network again")
    if missing := header["binary"].keys() - binary.keys():
        raise InputError(f"{min(missing)}{BITS_SUFFIX}: missing; save the network again")
    float_type: Any = next((str(value.dtype) for name, value in raw.items() if name in tensors), "float32")
    packed = PackedNetwork(header["network"], header["metadata"], binary, tensors, float_type)
    check_config(packed.config, packed.shapes)
    return packed


def write(packed: PackedNetwork, path: str | Path) -> int:
    """Write a packed network, and give the bytes written.

    Raises
    ------
    InputError
        If `read` would refuse it, because a number is not finite.
    """
    try:
        check_tensors(_stored(packed))
        data = _serialize(packed)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except ValueError as error:  # of JSON
        raise InputError(f"{path}: metadata: a number is not finite; train the network again") from error
    with atomic(Path(path)) as temporary:
        temporary.write_bytes(data)
    return len(data)


def _serialize(packed: PackedNetwork) -> bytes:
    header = {
        "format": FORMAT,
        "network": packed.config,
        "binary": {layer: signs.shape[1] for layer, signs in packed.binary.items()},
        "metadata": packed.metadata,
    }
    return serialized(_stored(packed), {HEADER_KEY: json.dumps(header, sort_keys=True, allow_nan=False)})


def _stored(packed: PackedNetwork) -> dict[str, NDArray[Any]]:
    """The tensors as a file holds them."""
    bits = {f"{layer}{BITS_SUFFIX}": pack_bits(signs) for layer, signs in packed.binary.items()}
    return bits | {name: value.astype(packed.float_type) for name, value in packed.tensors.items()}


def _read_file(path: Path) -> tuple[dict[str, Any], Mapping[str, NDArray[Any]]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; name a packed .safetensors network")
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})[HEADER_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, LookupError, ValueError, TypeError, AttributeError, RecursionError, OSError) as error:
        reason = " ".join(f"{type(error).__name__}: {error!s:.200}".split())
        raise InputError(f"{path}: not a packed network ({reason}); write one with pipeline.packing.save") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else None
        raise InputError(f"{path}: format: {found!r:.60} where this version reads {FORMAT}; save the network again")
    for field in ("network", "binary", "metadata"):
        if not isinstance(header.get(field), dict):
            raise InputError(f"{path}: {field}: missing from the header; save the network again")
    _check_metadata(path, header["metadata"])
    return header, tensors


def _check_metadata(path: Path, metadata: dict[str, Any]) -> None:
    for field in OBJECTS_IN_METADATA:
        value: Any = metadata
        for name in field.split("."):
            value = (value or {}).get(name)
        if value is not None and not isinstance(value, dict):
            raise InputError(f"{path}: metadata.{field}: is not a JSON object; save the network again")


def tensor_bytes(packed: PackedNetwork) -> dict[str, int]:
    """Bytes of each tensor of a packed network's file, by its name there."""
    return {name: value.nbytes for name, value in _stored(packed).items()}


def sizes(packed: PackedNetwork) -> dict[str, Any]:
    """Bytes of a packed network's file, by what they are for.

    Returns
    -------
    dict
        ``bytes`` (the whole file), ``header``, ``layers``: ``binary`` (packed bits and scales), ``float`` (filters
        of float convolutions) and ``other`` (biases, batch norm, slopes), and ``parts``: the same bytes by the
        network's parts, such as ``head``, ``blocks``, ``upsample`` and ``tail``.
    """
    layers = {"binary": 0, "float": 0, "other": 0}
    parts: dict[str, int] = {}
    for name, count in tensor_bytes(packed).items():
        part = name.split(".")[0]
        parts[part] = parts.get(part, 0) + count
        if name.endswith((BITS_SUFFIX, ".alpha")):
            layers["binary"] += count
        else:
            layers["float" if packed.tensors[name].ndim == 4 else "other"] += count
    total = len(_serialize(packed))
    return {"bytes": total, "header": total - sum(layers.values()), "layers": layers, "parts": parts}
