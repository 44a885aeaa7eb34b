"""Filters arranged at load for `pipeline.engine.kernels.channel.compiled`; each kind runs its own kernel."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numba import get_num_threads
from numpy.typing import NDArray

from pipeline.engine.kernels.channel import compiled as kernels
from pipeline.engine.kernels.channel.blocking import Kind, blocking
from pipeline.engine.kernels.channel.compiled import LANES, EpilogueArguments
from pipeline.engine.kernels.channel.images import padded
from pipeline.engine.kernels.channel.tables import index_float32, index_int6, index_int8
from pipeline.engine.networks import Array
from pipeline.engine.quantization import Quantization, bfloat16
from pipeline.engine.steps import Step
from pipeline.engine.workspace import aligned

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

    def prepare(self, step: Step, image: NDArray, halo: int, epilogue: EpilogueArguments, planes: Array) -> None:
        """Add calls to a step: convolve an image that has a halo of `halo` pixels, and write the outputs of `epilogue`,
        or the planes.
        """
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


def _shares(epilogue: EpilogueArguments, strips: int = 1) -> tuple[int, int, NDArray[np.int64]]:
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

    def prepare(self, step: Step, image: NDArray, halo: int, epilogue: EpilogueArguments, planes: Array) -> None:
        workers, *bands = _shares(epilogue)
        strip = padded(min(self.strip, epilogue.width), len(self.pixels))
        shape = (workers, strip * len(self.vectors) * LANES)
        sums = step.buffer(shape, self.initial.dtype.type, "sums")
        step.call(
            kernels.convolve, image, halo, self.weights, self.size, self.pixels, self.vectors, epilogue, strip, sums,
            *bands,
        )  # fmt: skip


def _in_tiles(rows: NDArray, outputs: int, vectors: int) -> NDArray:
    """Arrange filters for `kernels.convolve_tiles`.

    Parameters
    ----------
    rows : int8 or int16, shape (parts, k, weights, columns)
        By row of the filters: the weights of contiguous elements of an image for each column of a matrix.
    outputs : int
        The columns padded to whole blocks.
    vectors : int
        Vectors of 16 outputs in a block.

    Returns
    -------
    shape (blocks, steps, parts, vectors, 16, 64 or 32)
    """
    parts, size, weights, columns = rows.shape
    in_word = 4 // rows.itemsize
    whole = np.zeros((parts, size, padded(weights, kernels.TILE_ROWS * in_word), outputs), rows.dtype)
    whole[:, :, :weights, :columns] = rows
    split = whole.reshape(parts, -1, kernels.TILE_ROWS, in_word, outputs // (vectors * LANES), vectors, LANES)
    blocks = split.transpose(4, 1, 0, 5, 2, 6, 3)
    return aligned(blocks.reshape(*blocks.shape[:5], LANES * in_word))


def _parts(filters: Array) -> NDArray[np.int16]:
    """Split filters into three in bfloat16 with the same sum, or one if that is enough; shape (parts, O, I, k, k)."""
    parts: list[NDArray[np.int16]] = []
    rest = filters
    while not parts or (rest.any() and len(parts) < 3):
        parts.append(bfloat16(rest))
        rest = rest - (parts[-1].view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return np.stack(parts + [np.zeros_like(parts[0])] * (2 if len(parts) == 2 else 0))[:3]


class TileFilters:
    """Filters for a processor with AMX.

    Parameters
    ----------
    filters : bool, int8, int16 (bits of bfloat16) or float32, shape (O, I, k, k)
        int8 for an input in levels, int16 for one in bfloat16, float32 for one in float32, bool for levels or float32.
    quantization : Quantization, optional
        Quantization of the input, if it is in levels.
    few : bool
        Whether each column of a filter becomes an output of its own, so that the tiles of a few filters are full. At
        most `FEW` filters with at most 32 columns in all.
    """

    def __init__(self, filters: NDArray, quantization: Quantization | None, few: bool = False) -> None:
        if filters.dtype == np.bool_:
            filters = np.where(filters, 1, -1).astype(np.float32 if quantization is None else np.int8)
        count, inputs, self.size, _ = filters.shape
        split = filters.dtype == np.float32
        parts = _parts(filters) if split else filters[None]
        self.products = _length({1: 3, 3: 6}[len(parts)] if split else 1)
        if few:  # part, row, input, column and output
            rows = parts.transpose(0, 3, 2, 4, 1).reshape(len(parts), self.size, inputs, -1)
        else:  # part, row, column and input, output
            # As many channels as images of whole vectors have, so that the order of a sum is always the same.
            whole = np.zeros((len(parts), self.size, self.size, padded(inputs), count), parts.dtype)
            whole[..., :inputs, :] = parts.transpose(0, 3, 4, 2, 1)
            rows = whole.reshape(len(parts), self.size, -1, count)
        vectors = 1 if rows.shape[-1] <= LANES else 2
        columns = padded(rows.shape[-1], vectors * LANES)
        self.weights, self.vectors = _in_tiles(rows, columns, vectors), _length(vectors)
        self.few = count if few else 0
        self.outputs = count if few else columns
        self.initial = _initial(filters, FEW if few else columns, quantization)

    def prepare(self, step: Step, image: NDArray, halo: int, epilogue: EpilogueArguments, planes: Array) -> None:
        strip = padded(min(TILE_STRIP, epilogue.width), 2 * kernels.TILE_ROWS)
        workers, *bands = _shares(epilogue, -(-epilogue.width // strip))
        count = (strip + 4 * kernels.TILE_ROWS) * len(self.vectors) * LANES + FEW * strip
        sums = step.buffer((workers, count), self.initial.dtype.type, "sums")
        split = 3 * self.size * (strip + self.size + 2 * kernels.TILE_ROWS) * image.shape[2]
        parts = step.buffer((workers, split if len(self.products) > 1 else 0), np.int16, "parts")
        step.call(
            kernels.convolve_tiles, image, halo, self.weights, self.size, self.vectors, self.products, self.few,
            kernels.TILE_CONFIGURATION, epilogue, planes, parts, strip, sums, *bands,
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

    def prepare(self, step: Step, image: NDArray, halo: int, epilogue: EpilogueArguments, planes: Array) -> None:
        workers, *bands = _shares(epilogue)
        shape = (workers, padded(len(self.pixels) * self.outputs))
        sums = step.buffer(shape, self.initial.dtype.type, "sums")
        step.call(
            kernels.convolve_few, image, halo, self.weights, self.size, self.pixels, self.counts, epilogue, planes,
            sums, *bands,
        )  # fmt: skip


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

    def prepare(self, step: Step, image: NDArray, halo: int, epilogue: EpilogueArguments, planes: Array) -> None:
        workers, *bands = _shares(epilogue)
        strip = padded(min(self.strip, epilogue.width), len(self.pixels))
        words = -(-self.inputs // 64)
        bits = step.buffer((*image.shape[:2], self.planes, words), np.uint64, "bits")
        total = step.buffer(image.shape[:2], np.int32, "total")
        used = slice(epilogue.height + 2 * halo)  # the slack after it is read without effect, and need not be split
        step.call(kernels.split, image[used], self.inputs, self.planes, bits[used], total[used])
        sums = step.buffer((workers, strip * self.outputs), np.int32, "sums")
        step.call(
            kernels.convolve_bits, bits, total, halo, self.weights, self.size, self.signs, self.tap_sums, self.pixels,
            self.vectors, epilogue, strip, sums, *bands,
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

    def prepare(self, step: Step, image: NDArray, halo: int, epilogue: EpilogueArguments, planes: Array) -> None:
        strip, indexed = padded(min(self.strip, epilogue.width), len(self.pixels)), self.indexed
        workers, *bands = _shares(epilogue, -(-epilogue.width // strip))
        shape = self.size * len(indexed.constants) * (strip + self.size - 1) * self.table_bytes
        tables: Any = step.buffer((workers, shape), np.uint8, "tables")
        sums = step.buffer((workers, strip * self.outputs), self.initial.dtype.type, "sums")
        step.call(
            kernels.convolve_binary, image, halo, indexed.indices, indexed.constants, self.size, indexed.at_once,
            self.pixels, self.vectors, epilogue, tables, strip, sums, *bands,
        )  # fmt: skip
