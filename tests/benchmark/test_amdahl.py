"""Where the time goes: multiply-adds by hand, and times that add up."""

import pytest

from pipeline.benchmark.amdahl import engine_by_kind, where_time_goes
from pipeline.benchmark.backends import UnavailableError
from pipeline.benchmark.engines import ENGINES
from pipeline.engine.kernels.channel import compiled as channel_kernels
from pipeline.engine.modes import MODES, modes_here
from pipeline.engine.runner import SHUFFLED_TILE


def test_layers_add_up_to_the_network(edsr):
    found = where_time_goes(edsr, edsr.input(16, 20), threads=1, repeats=3)
    layers = {layer.name: layer for layer in found.layers}
    assert layers["head"].macs == 3 * 8 * 9 * 320 and layers["tail"].macs == 8 * 3 * 9 * 4 * 320
    assert [name for name, layer in layers.items() if layer.binary] == ["blocks.0.conv1", "blocks.0.conv2"]
    assert found.binary_macs == 2 * 64 * 9 * 320
    assert found.binary_macs + found.float_macs == sum(layer.macs for layer in layers.values())
    assert 0 < found.binary_ms < found.total_ms
    assert found.ceiling == pytest.approx(found.total_ms / (found.total_ms - found.binary_ms), rel=0.01)


@pytest.mark.parametrize("name", ENGINES)
def test_the_engine_by_kind_of_layer(edsr, name):
    lacking = {
        "popcount needs a processor with AVX-512": ENGINES[name].get("method") == "popcount"
        and not channel_kernels.supported(),
        "bfloat16 needs a processor with AVX-512": name not in modes_here() and name in MODES,
    }
    if True in lacking.values():
        with pytest.raises(UnavailableError, match=next(reason for reason, holds in lacking.items() if holds)):
            engine_by_kind(edsr, edsr.input(16, 20), name, threads=1, repeats=3)
        return
    found = engine_by_kind(edsr, edsr.input(16, 20), name, threads=1, repeats=3)
    assert found.keys() == {"binary", "float", "other"}
    assert min(found.values()) >= 0 and found["binary"] > 0 and found["float"] > 0


def test_an_image_that_the_engine_would_cut_into_tiles_has_its_kinds_too(edsr):
    found = engine_by_kind(edsr, edsr.input(16, SHUFFLED_TILE + 8), "engine_float32", threads=1, repeats=3)
    assert found["binary"] > 0 and found["float"] > 0
