"""Filters arranged at load for `pipeline.engine.kernels.channel.compiled`; each kind runs its own kernel."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numba import get_num_threads
from numpy.typing import NDArray

from pipeline.engine.kernels.channel import compiled as kernels
from pipeline.engine.kernels.channel.blocking import Kind, blocking
from pipeline.engine.kernels.channel.compiled import LANES, TILE_ROWS
from pipeline.engine.kernels.channel.images import padded
from pipeline.engine.kernels.channel.tables import index_float32, index_int6, index_int8
from pipeline.engine.networks import Array
from pipeline.engine.quantization import Quantization, bfloat16
from pipeline.engine.workspace import Workspace, aligned

BLOCK = 64  # maximum outputs of a microkernel
PARTS = 8  # row bands per worker, so that none waits long for a slower one
LEAST_ROWS, MOST_ROWS = 4, 32
TILE_STRIP = 128
FEW = 4  # up to this many outputs, it is faster to use the lanes for input channels


class Filters(Protocol):
    """The filters of one layer, arranged for a kernel.

    Attributes
    ----------
    outputs : int
        Number of outputs, padded to whole blocks.
    initial : int32 or float32, shape (outputs,)
        Initial value of each sum.
    """

    outputs: int
    initial: NDArray

    def run(
        self, image: NDArray, halo: int, epilogue: kernels.EpilogueArguments, planes: Array, workspace: Workspace
    ) -> None:
        """Convolve an image that has a halo of `halo` pixels, and write the outputs of `epilogue`, or the planes."""
        ...


def _length(count: int) -> tuple[int, ...]:
    """Return a tuple of this length, which makes the number a compile-time constant."""
    return (1,) * count


def _blocks(outputs: int, lanes: int) -> tuple[int, int]:
    """Return the outputs padded to whole blocks, and the vectors of `lanes` outputs in a block."""
    block = min(BLOCK, padded(outputs, lanes))
    return padded(outputs, block), block // lanes


def _initial(filters: NDArray, outputs: int, quantization: Quantization | None) -> NDArray:
    """Return the initial sums, which correct for levels being stored relative to the lowest level instead of zero."""
    if quantization is None:
        return aligned(np.zeros(outputs, np.float32))
    initial = np.zeros(outputs, np.int32)
    initial[: len(filters)] = quantization.lowest * filters.astype(np.int64).sum(axis=(1, 2, 3))
    return aligned(initial)


def _shares(epilogue: kernels.EpilogueArguments, strips: int = 1) -> tuple[int, int, NDArray[np.int64]]:
    """Return the number of workers, the rows per band that a worker takes at a time, and the counter of taken bands."""
    workers = min(get_num_threads(), epilogue.height)
    rows = epilogue.height * strips // (PARTS * workers)
    return workers, min(max(rows, LEAST_ROWS), MOST_ROWS), np.zeros(1, np.int64)


class FloatFilters:
    """Float filters, or float filters rounded to int8 or bfloat16.

    Parameters
    ----------
    filters : float32, int8, or int16 (bits of bfloat16), shape (O, I, k, k)
    quantization : Quantization, optional
        Quantization of the input, for int8 filters.
    """

    def __init__(self, filters: NDArray, quantization: Quantization | None) -> None:
        self.size = filters.shape[2]
        self.outputs, vectors = _blocks(len(filters), LANES)
        taps = filters.transpose(2, 3, 1, 0)  # row, column, input, output
        inputs_per_step = 4 // filters.itemsize
        whole = np.zeros((*taps.shape[:2], padded(taps.shape[2], inputs_per_step), self.outputs), filters.dtype)
        whole[:, :, : taps.shape[2], : len(filters)] = taps
        steps = whole.reshape(-1, inputs_per_step, self.outputs // (vectors * LANES), vectors, LANES)
        blocks = steps.transpose(2, 0, 3, 4, 1).reshape(steps.shape[2], len(steps), vectors, LANES * inputs_per_step)
        self.weights = aligned(blocks)
        self.initial = _initial(filters, self.outputs, quantization)
        self.vectors = _length(vectors)
        kinds: dict[int, Kind] = {4: "float32", 2: "bfloat16", 1: "int8"}
        parameters = blocking(kinds[filters.itemsize])
        self.pixels, self.strip = _length(parameters.pixels(vectors)), parameters.strip

    def run(
        self, image: NDArray, halo: int, epilogue: kernels.EpilogueArguments, planes: Array, workspace: Workspace
    ) -> None:
        workers, rows, counter = _shares(epilogue)
        strip = padded(min(self.strip, epilogue.width), len(self.pixels))
        shape = (workers, strip * len(self.vectors) * LANES)
        sums = workspace.array(shape, self.initial.dtype.type, "sums")
        kernels.convolve(
            image, halo, self.weights, self.size, self.pixels, self.vectors, epilogue, strip, sums, rows, counter
        )


def _in_tiles(rows: NDArray, outputs: int, vectors: int) -> NDArray:
    """Arrange filters for `kernels.convolve_tiles`.

    Parameters
    ----------
    rows : int8 or int16, shape (k, weights, columns)
        By row of the filters: the weights of contiguous elements of an image for each column of a matrix.
    outputs : int
        The columns padded to whole blocks.
    vectors : int
        Vectors of 16 outputs in a block.

    Returns
    -------
    shape (blocks, steps, vectors, 16, 64 or 32)
    """
    size, weights, columns = rows.shape
    in_word = 4 // rows.itemsize
    whole = np.zeros((size, padded(weights, TILE_ROWS * in_word), outputs), rows.dtype)
    whole[:, :weights, :columns] = rows
    split = whole.reshape(-1, TILE_ROWS, in_word, outputs // (vectors * LANES), vectors, LANES)
    blocks = split.transpose(3, 0, 4, 1, 5, 2)
    return aligned(blocks.reshape(*blocks.shape[:4], LANES * in_word))


def _tile_filters(filters: NDArray, parts: int) -> tuple[NDArray, tuple[int, ...]]:
    """Return filters of int8 or int16 arranged for an image with `parts` numbers a channel; tuple as long as vectors.

    The image has whole vectors of channels: the order of a sum must not depend on how it is stored.
    """
    count, inputs, k, _ = filters.shape
    vectors = 1 if count <= LANES else 2
    taps = np.zeros((k, k, parts, padded(inputs), count), filters.dtype)
    taps[:, :, :, :inputs] = filters.transpose(2, 3, 1, 0)[:, :, None]
    return _in_tiles(taps.reshape(k, -1, count), padded(count, vectors * LANES), vectors), _length(vectors)


def _signs(filters: NDArray[np.bool_]) -> NDArray[np.int8]:
    return np.where(filters, 1, -1).astype(np.int8)


class TileFilters:
    """Filters for a processor with AMX: binary, or rounded to int8 or bfloat16.

    Parameters
    ----------
    filters : bool, int8, or int16 (bits of bfloat16), shape (O, I, k, k)
    quantization : Quantization, optional
        Quantization of the input, if it is in levels.
    """

    def __init__(self, filters: NDArray, quantization: Quantization | None) -> None:
        if filters.dtype == np.bool_:
            filters = _signs(filters)
        self.size = filters.shape[2]
        self.weights, self.vectors = _tile_filters(filters, 1)
        self.outputs = len(self.weights) * len(self.vectors) * LANES
        self.initial = _initial(filters, self.outputs, quantization)

    def run(
        self, image: NDArray, halo: int, epilogue: kernels.EpilogueArguments, planes: Array, workspace: Workspace
    ) -> None:
        workers, rows, counter = _shares(epilogue)
        strip = padded(min(TILE_STRIP, epilogue.width), 2 * TILE_ROWS)
        sums = workspace.array((workers, strip * len(self.vectors) * LANES), self.initial.dtype.type, "sums")
        kernels.convolve_tiles(
            image, halo, self.weights, self.size, self.vectors, kernels.TILE_CONFIGURATION, epilogue, strip, sums, rows,
            counter,
        )  # fmt: skip


class SplitTileFilters:
    """Binary filters for an input of float32 and a processor with AMX.

    Parameters
    ----------
    filters : bool, shape (O, I, k, k)
    """

    def __init__(self, filters: NDArray[np.bool_]) -> None:
        self.size = filters.shape[2]
        self.weights, self.vectors = _tile_filters(bfloat16(_signs(filters).astype(np.float32)), 3)
        self.outputs = len(self.weights) * len(self.vectors) * LANES
        self.initial = _initial(filters, self.outputs, None)

    def run(
        self, image: NDArray, halo: int, epilogue: kernels.EpilogueArguments, planes: Array, workspace: Workspace
    ) -> None:
        strip = padded(min(TILE_STRIP, epilogue.width), 2 * TILE_ROWS)
        workers, rows, counter = _shares(epilogue, -(-epilogue.width // strip))
        sums = workspace.array((workers, strip * len(self.vectors) * LANES), np.float32, "sums")
        shape = workers, self.size * (strip + self.size + 2 * TILE_ROWS) * 3 * image.shape[2]
        parts = workspace.array(shape, np.int16, "parts")
        kernels.convolve_split_tiles(
            image, halo, self.weights, self.size, self.vectors, kernels.TILE_CONFIGURATION, epilogue, parts, strip,
            sums, rows, counter,
        )  # fmt: skip


class FewTileFilters:
    """At most `FEW` filters for a processor with AMX; the parameters are those of `TileFilters`.

    Each column of a filter is an output of its own, so that the tiles are full. At most 32 columns in all.
    """

    def __init__(self, filters: NDArray, quantization: Quantization | None) -> None:
        count, inputs, self.size, _ = filters.shape
        self.outputs = count
        self.initial = _initial(filters, FEW, quantization)
        columns = count * self.size
        vectors = -(-columns // LANES)
        rows = filters.transpose(2, 1, 3, 0).reshape(self.size, inputs, columns)
        self.weights, self.vectors = _in_tiles(rows, vectors * LANES, vectors), _length(vectors)

    def run(
        self, image: NDArray, halo: int, epilogue: kernels.EpilogueArguments, planes: Array, workspace: Workspace
    ) -> None:
        workers, rows, counter = _shares(epilogue)
        strip = padded(min(TILE_STRIP, epilogue.width), 2 * TILE_ROWS)
        shape = (workers, padded((strip + 4 * TILE_ROWS) * len(self.vectors) * LANES + FEW * strip))
        sums = workspace.array(shape, self.initial.dtype.type, "sums")
        kernels.convolve_few_tiles(
            image, halo, self.weights, self.size, self.vectors, kernels.TILE_CONFIGURATION, epilogue, planes, strip,
            sums, rows, counter,
        )  # fmt: skip


class FewFilters:
    """At most `FEW` filters; the parameters are those of `FloatFilters`."""

    def __init__(self, filters: NDArray, quantization: Quantization | None) -> None:
        self.size = filters.shape[2]
        self.outputs = len(filters)
        lanes = LANES * 4 // filters.itemsize
        taps = filters.transpose(2, 3, 1, 0)
        whole = np.zeros((*taps.shape[:2], padded(taps.shape[2], lanes), self.outputs), filters.dtype)
        whole[:, :, : taps.shape[2]] = taps
        self.weights = aligned(whole.reshape(1, -1, lanes, self.outputs).transpose(0, 1, 3, 2))
        self.initial = _initial(filters, self.outputs, quantization)
        self.counts = _length(self.outputs)
        self.pixels = _length(blocking("few").pixels(self.outputs))

    def run(
        self, image: NDArray, halo: int, epilogue: kernels.EpilogueArguments, planes: Array, workspace: Workspace
    ) -> None:
        workers, rows, counter = _shares(epilogue)
        shape = (workers, padded(len(self.pixels) * self.outputs))
        sums = workspace.array(shape, self.initial.dtype.type, "sums")
        kernels.convolve_few(
            image, halo, self.weights, self.size, self.pixels, self.counts, epilogue, planes, sums, rows, counter
        )


class BitFilters:
    """Binary filters for bit planes of the activations: the textbook method, XNOR or AND and population count.

    Parameters
    ----------
    filters : bool, shape (O, I, k, k)
    quantization : Quantization
        Quantization of the input.
    """

    def __init__(self, filters: NDArray[np.bool_], quantization: Quantization) -> None:
        count, self.inputs, self.size, _ = filters.shape
        self.signs = quantization.signs
        self.planes = 1 if self.signs else int(quantization.highest - quantization.lowest).bit_length()
        self.outputs, vectors = _blocks(count, LANES)
        words = -(-self.inputs // 64)
        bits = np.zeros((self.outputs, self.size**2, 64 * words), bool)
        bits[:count, :, : self.inputs] = filters.reshape(count, self.inputs, -1).transpose(0, 2, 1)
        packed = np.packbits(bits, axis=-1, bitorder="little").view(np.uint64)
        packed = packed.reshape(self.outputs, -1).T  # steps, outputs
        blocks = packed.reshape(len(packed), self.outputs // (vectors * LANES), 2 * vectors, 8)
        self.weights = aligned(blocks.transpose(1, 0, 2, 3))
        self.tap_sums = np.zeros((self.size**2, self.outputs), np.int32)
        self.tap_sums[:, :count] = np.where(filters, 1, -1).sum(axis=1).reshape(count, -1).T
        self.initial = aligned(quantization.lowest * self.tap_sums.sum(axis=0, dtype=np.int32))
        self.vectors = _length(2 * vectors)
        parameters = blocking("bits")
        self.pixels, self.strip = _length(parameters.pixels(2 * vectors)), parameters.strip

    def run(
        self, image: NDArray, halo: int, epilogue: kernels.EpilogueArguments, planes: Array, workspace: Workspace
    ) -> None:
        workers, rows, counter = _shares(epilogue)
        strip = padded(min(self.strip, epilogue.width), len(self.pixels))
        words = -(-self.inputs // 64)
        bits = workspace.array((*image.shape[:2], self.planes, words), np.uint64, "bits")
        total = workspace.array(image.shape[:2], np.int32, "total")
        used = slice(epilogue.height + 2 * halo)  # the slack after it is read without effect, and need not be split
        kernels.split(image[used], self.inputs, self.planes, bits[used], total[used])
        sums = workspace.array((workers, strip * self.outputs), np.int32, "sums")
        kernels.convolve_bits(
            bits, total, halo, self.weights, self.size, self.signs, self.tap_sums, self.pixels, self.vectors, epilogue,
            strip, sums, rows, counter,
        )  # fmt: skip


class BinaryFilters:
    """Binary filters as table indices.

    Parameters
    ----------
    filters : bool, shape (O, I, k, k)
    quantization : Quantization, optional
        Quantization of the input: up to 64 levels use the tables for 6 bits, more those for 8.
    """

    def __init__(self, filters: NDArray[np.bool_], quantization: Quantization | None) -> None:
        self.size = filters.shape[2]
        wide = quantization is not None and quantization.highest - quantization.lowest > 63
        self.outputs, vectors = _blocks(len(filters), 2 * LANES if wide else LANES)
        kind: Kind
        if quantization is None:
            kind, self.indexed = "table_float32", index_float32(filters, self.outputs, vectors)
        elif wide:
            kind, self.indexed = "table_int8", index_int8(filters, self.outputs, vectors, quantization)
        else:
            kind, self.indexed = "table_int6", index_int6(filters, self.outputs, vectors, quantization)
        self.initial = aligned(self.indexed.initial)
        self.vectors = _length(vectors)
        self.pixels, self.strip = _length(blocking(kind).pixels(vectors)), blocking(kind).strip
        self.table_bytes = 128 if quantization is None else 64

    def run(
        self, image: NDArray, halo: int, epilogue: kernels.EpilogueArguments, planes: Array, workspace: Workspace
    ) -> None:
        strip, indexed = padded(min(self.strip, epilogue.width), len(self.pixels)), self.indexed
        workers, rows, counter = _shares(epilogue, -(-epilogue.width // strip))
        shape = self.size * len(indexed.constants) * (strip + self.size - 1) * self.table_bytes
        tables: Any = workspace.array((workers, shape), np.uint8, "tables")
        sums = workspace.array((workers, strip * self.outputs), self.initial.dtype.type, "sums")
        kernels.convolve_binary(
            image, halo, indexed.indices, indexed.constants, self.size, indexed.at_once, self.pixels, self.vectors,
            epilogue, tables, strip, sums, rows, counter,
        )  # fmt: skip
