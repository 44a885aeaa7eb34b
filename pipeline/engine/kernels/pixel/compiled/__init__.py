"""The compiled kernels for any processor: lanes are pixels, and tables are in the first-level cache.

A padded image is convolved tile by tile, including the epilogue.
A tile is one vector wide and a few rows high. Its accumulators stay in registers while a microkernel loops over a list
of positions to read from:

- table look-up: ``sums[row] += table[position + row]``, one vector load and one addition for 4 multiply-adds per lane;
- float: ``sums[output, row] += weights[output] * image[position + row]``;
- levels with int8 filters: the same for two channels at once, whose products one instruction adds up in int32.

With filters of 3×3 taps, the last two multiply blocks of 2×2 pixels after Winograd's transform, which takes 16 products
instead of 36.

Microkernels are emitted as LLVM vector code, which LLVM lowers to the processor's instructions. Results do not depend
on the number of threads: the sums of a pixel are always added in the same order.
"""

from pipeline.engine.kernels.pixel.compiled.epilogue import EpilogueArguments
from pipeline.engine.kernels.pixel.compiled.look_ups import (
    CHANNELS,
    SAFE_LOOK_UPS,
    SUMS,
    TABLE_ROWS,
    convolve_binary,
    convolve_binary_levels,
    groups_at_once,
)
from pipeline.engine.kernels.pixel.compiled.padding import pad, pad_pairs, pad_quantized
from pipeline.engine.kernels.pixel.compiled.products import FLOAT_OUTPUTS, FLOAT_ROWS, PAIR_OUTPUTS, convolve
from pipeline.engine.kernels.pixel.compiled.vectors import FLOAT_LANES, INT16_LANES, VECTOR_BYTES
from pipeline.engine.kernels.pixel.compiled.winograd import convolve_winograd

__all__ = [
    "CHANNELS",
    "FLOAT_LANES",
    "FLOAT_OUTPUTS",
    "FLOAT_ROWS",
    "INT16_LANES",
    "PAIR_OUTPUTS",
    "SAFE_LOOK_UPS",
    "SUMS",
    "TABLE_ROWS",
    "VECTOR_BYTES",
    "EpilogueArguments",
    "convolve",
    "convolve_binary",
    "convolve_binary_levels",
    "convolve_winograd",
    "groups_at_once",
    "pad",
    "pad_pairs",
    "pad_quantized",
]
