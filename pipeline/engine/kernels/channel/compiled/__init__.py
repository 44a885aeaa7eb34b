"""The compiled kernels for AVX-512 with VBMI and VNNI: lanes are output channels, and tables are in registers.

Images are stored pixel by pixel, channels innermost. Each convolution is a microkernel: for a few neighbouring pixels
and a few vectors of output channels, the accumulators stay in registers over all steps. The type of the weights
determines what a step does:

- float32: ``sums += weights * x``, one input channel per step;
- int16: bfloat16, two input channels per step, by the dot product of pairs (AVX-512 BF16);
- int8: four input channels per step, by the dot product of bytes (VNNI);
- uint64: binary filters and activations in bit planes, 64 channels per step, by population count (the textbook method);
- uint32, uint16, uint8: binary filters and table look-up. A table holds all signed sums of a few channels of one pixel,
  and a weight is an index into it: one permutation of a register looks up a sum for every lane.

  ======  ===========  ==============  ========  ========================  ======================
  index   activations  sums in table   channels  multiply-adds a look-up   accumulators
  ======  ===========  ==============  ========  ========================  ======================
  uint32  float32      32 × float32    5         80                        float32
  uint16  8 bits       32 × int16      5         160                       int16, widened in time
  uint8   6 bits       4 × 16 × uint8  4 × 4     256                       int32
  ======  ===========  ==============  ========  ========================  ======================

On processors with AMX, products of tiles (16 pixels × 64 bytes times 64 bytes × 16 outputs) take the place of most of
these steps, with binary filters as bytes again and float32 in three parts. That is more work than looking sums up, in a
unit that multiplies eight times as fast as VNNI.

Microkernels are emitted as LLVM vector code. Results do not depend on the number of threads: the sums of a pixel are
always added in the same order.
"""

from pipeline.engine.kernels.channel.compiled.bits import convolve_bits, split
from pipeline.engine.kernels.channel.compiled.copies import (
    SLACK_PIXELS,
    fill_halo,
    image_to_planes,
    planes_to_image,
    round_bfloat16,
    round_levels,
)
from pipeline.engine.kernels.channel.compiled.epilogue import EpilogueArguments
from pipeline.engine.kernels.channel.compiled.few import convolve_few
from pipeline.engine.kernels.channel.compiled.look_ups import SAFE_LOOK_UPS, convolve_binary
from pipeline.engine.kernels.channel.compiled.processor import (
    FEATURES,
    TILE_FEATURES,
    bfloat16_supported,
    supported,
    tiles_supported,
)
from pipeline.engine.kernels.channel.compiled.products import convolve
from pipeline.engine.kernels.channel.compiled.tiles import TILE_CONFIGURATION, TILE_ROWS, convolve_tiles
from pipeline.engine.kernels.channel.compiled.vectors import LANES, VECTOR_BYTES

__all__ = [
    "FEATURES",
    "LANES",
    "SAFE_LOOK_UPS",
    "SLACK_PIXELS",
    "TILE_CONFIGURATION",
    "TILE_FEATURES",
    "TILE_ROWS",
    "VECTOR_BYTES",
    "EpilogueArguments",
    "bfloat16_supported",
    "convolve",
    "convolve_binary",
    "convolve_bits",
    "convolve_few",
    "convolve_tiles",
    "fill_halo",
    "image_to_planes",
    "planes_to_image",
    "round_bfloat16",
    "round_levels",
    "split",
    "supported",
    "tiles_supported",
]
