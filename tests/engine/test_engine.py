"""The engine from the outside: 8-bit images and activations, threads, errors, and no PyTorch."""

import os
import re
import subprocess
import sys

import numba
import numpy as np
import pytest

from pipeline.benchmark.instruction_sets import held_environment
from pipeline.engine import Engine
from pipeline.engine.calibration import calibrate
from pipeline.engine.kernels.channel import compiled as channel_kernels
from pipeline.engine.layers import layers_of
from pipeline.engine.modes import MODES, modes_here
from pipeline.engine.networks import Architecture
from pipeline.engine.ranges import roundings_of
from pipeline.errors import InputError
from pipeline.inference import upscale
from pipeline.packed import PackedNetwork, read
from tests.engine.random_networks import save_random
from tests.engine.reference import ReferenceOps
from tests.small import picture

SMALL = {"blocks": 1, "channels": 9}
IMAGES = [picture(0, 12, 17), picture(1, 9, 8, channels=1)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small network saved with its activations' ranges."""
    folder = tmp_path_factory.mktemp("engine")
    save_random(folder / "bare.safetensors", "edsr", 2, **SMALL)
    ranges = calibrate(folder / "bare.safetensors", IMAGES)
    save_random(folder / "calibrated.safetensors", "edsr", 2, metadata={"activations": ranges}, **SMALL)
    save_random(folder / "float.safetensors", "edsr", 2, "float", **SMALL)
    return folder


@pytest.mark.parametrize("model", ["srresnet", "vdsr"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_come_out_as_from_pytorch(tmp_path, model, channels):
    path = tmp_path / "network.safetensors"
    module = save_random(path, model, 3, **({"layers": 3} if model == "vdsr" else {"blocks": 1}), channels=9).float()
    image = picture(2, 11, 14, channels=channels)
    ours, torchs = Engine.load(path).upscale(image), upscale(module, image)
    assert ours.dtype == np.uint8 and ours.shape == torchs.shape == (33, 42, 3)[: image.ndim]
    assert np.abs(ours.astype(int) - torchs).max() <= 1
    assert (ours == torchs).mean() > 0.99  # but for values at a half


@pytest.mark.parametrize("mode", [name for name in MODES if name != "engine_float32"])
@pytest.mark.parametrize("model", ["srresnet", "edsr", "vdsr"])
def test_rounded_is_what_the_definitions_give(tmp_path, model, mode):
    if mode not in modes_here():
        pytest.skip("a processor without AVX-512 BF16")
    path = tmp_path / "network.safetensors"
    channels = 17 if mode == "engine_bfloat16" else 9  # layers with fewer inputs stay in float32
    overrides = {"layers": 4, "channels": channels} if model == "vdsr" else SMALL | {"channels": channels}
    save_random(path, model, 2, **overrides)
    ranges = calibrate(path, IMAGES, [99.0])
    save_random(path, model, 2, metadata={"activations": ranges}, **overrides)
    packed = read(path)
    architecture = Architecture.of(packed)
    layers = layers_of(packed, architecture)
    arguments = {"float_layers": "float32"} | dict(MODES[mode])
    x = np.random.default_rng(0).random((architecture.channels, 14, 9), np.float32)
    expected = architecture.forward(ReferenceOps(layers, roundings_of(packed, layers, **arguments)), x)
    exact = architecture.forward(ReferenceOps(layers, {}), x)
    got = Engine.load(path, **arguments).forward(x)
    # An activation within rounding of a half may fall on either side: rarely, by one step.
    size = np.abs(expected).max()
    assert np.median(np.abs(got - expected)) <= 1e-5 * size
    assert np.abs(got - expected).max() <= np.abs(expected - exact).max() < 0.4 * size


@pytest.mark.skipif(not channel_kernels.supported(), reason="counting bits needs AVX-512 VBMI and VNNI here")
@pytest.mark.parametrize("activations", ["int8", "int6"])
def test_counting_bits_gives_what_tables_give_and_products(saved, activations):
    x = np.random.default_rng(0).random((3, 20, 30), np.float32)
    path = saved / "calibrated.safetensors"
    tables = Engine(read(path), activations, method="tables").forward(x)
    np.testing.assert_array_equal(Engine(read(path), activations, method="popcount").forward(x), tables)
    np.testing.assert_array_equal(Engine.load(path, activations).forward(x), tables)


@pytest.mark.parametrize("model", ["edsr", "vdsr"])
def test_signs_for_activations_are_what_the_definitions_give(tmp_path, model):
    path = tmp_path / "network.safetensors"
    overrides = {"layers": 3, "channels": 9} if model == "vdsr" else SMALL
    save_random(path, model, 2, **overrides)
    save_random(path, model, 2, metadata={"activations": calibrate(path, IMAGES)}, **overrides)
    packed = read(path)
    architecture = Architecture.of(packed)
    layers = layers_of(packed, architecture)
    x = np.random.default_rng(0).random((architecture.channels, 14, 9), np.float32)
    expected = architecture.forward(ReferenceOps(layers, roundings_of(packed, layers, "int1", "float32")), x)
    got = Engine.load(path, "int1").forward(x)
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one processor")
@pytest.mark.parametrize("activations", ["float32", "int8", "int6"])
def test_threads_change_no_bit(saved, activations):
    x = np.random.default_rng(0).random((3, 70, 90), np.float32)
    before = numba.get_num_threads()
    one, two = (Engine.load(saved / "calibrated.safetensors", activations, threads).forward(x) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)
    assert numba.get_num_threads() == before


def test_a_view_and_a_read_only_array_run_too(saved):
    x = np.random.default_rng(0).random((3, 6, 8), np.float32)
    engine = Engine.load(saved / "bare.safetensors")
    flipped = np.ascontiguousarray(x[:, ::-1, ::-1])[:, ::-1, ::-1]
    flipped.setflags(write=False)
    np.testing.assert_array_equal(engine.forward(x), engine.forward(flipped))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "bare",
            {"activations": "int8"},
            "metadata.activations.int8.blocks.0.conv1: None is not a range; export with cal",
        ),
        ("float", {"activations": "int8"}, "activations: int8 needs binary layers"),
        ("bare", {"float_layers": "int8"}, "metadata.activations.float_layers.conv: None has no ranges; export with"),
        ("bare", {"activations": "int4"}, "activations: 'int4' is unknown; choose"),
        ("bare", {"float_layers": "int6"}, "float_layers: 'int6' is unknown; choose"),
        ("bare", {"tile": 0}, "tile: 0 is too small; choose"),
        ("bare", {"threads": 0}, "threads: 0 is out of range; choose 1 to"),
        ("bare", {"threads": 10_000}, "threads: 10000 is out of range; choose 1 to"),
        ("missing", {}, "no such file"),
    ],
)
def test_loading_errors_name_the_file_and_the_field(saved, name, arguments, message):
    with pytest.raises(InputError) as error:
        Engine.load(saved / f"{name}.safetensors", **arguments)
    assert message in str(error.value) and f"{name}.safetensors" in str(error.value)


@pytest.mark.parametrize("range_", [0, 1.5, [1.0], [0, 0], [-1, float("nan")], [0, float("inf")], ["0", "1"]])
def test_a_range_must_be_two_numbers_apart(saved, range_):
    packed = read(saved / "calibrated.safetensors")
    ranges = packed.metadata["activations"]["int8"] | {"blocks.0.conv2": range_}
    metadata = {"activations": {"int8": ranges}}
    with pytest.raises(InputError, match=r"metadata\.activations\.int8\.blocks\.0\.conv2"):
        Engine(PackedNetwork(packed.config, metadata, packed.binary, packed.tensors), "int8")


def test_a_layer_without_a_range_keeps_its_input_in_float32(saved):
    packed = read(saved / "calibrated.safetensors")
    x = np.random.default_rng(0).random((3, 20, 30), np.float32)

    def run(activations, **changed):
        ranges = packed.metadata["activations"]["int6"] | changed
        metadata = {"activations": packed.metadata["activations"] | {"int6": ranges}}
        return Engine(PackedNetwork(packed.config, metadata, packed.binary, packed.tensors), activations).forward(x)

    exact, some = run("float32"), run("int6", **{"blocks.0.conv1": None})
    every = run("int6", **{"blocks.0.conv1": [-1, 1]})
    assert not np.array_equal(some, exact) and not np.array_equal(some, every)
    np.testing.assert_array_equal(run("int6", **dict.fromkeys(packed.binary)), exact)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (lambda ones: [0, 1], "conv: [0, 1] has no ranges"),
        (lambda ones: {"high": ones}, "conv.low: not a list of"),
        (lambda ones: {"low": ones, "high": [*ones, 1.0]}, "conv.high: not a list of"),
        (lambda ones: {"low": ones[1:], "high": ones}, "conv.low: not a list of"),
        (lambda ones: {"low": ones, "high": [*ones[1:], float("nan")]}, "conv.high: [1.0"),
        (lambda ones: {"low": [*ones[1:], "1"], "high": ones}, "must all be finite"),
    ],
)
def test_ranges_by_channel_must_be_numbers(saved, found, message):
    packed = read(saved / "calibrated.safetensors")
    ones = [1.0] * packed.tensors["conv.weight"].shape[1]
    ranges = packed.metadata["activations"]["float_layers"] | {"conv": found(ones)}
    metadata = {"activations": {"float_layers": ranges}}
    with pytest.raises(InputError, match=re.escape(message)):
        Engine(PackedNetwork(packed.config, metadata, packed.binary, packed.tensors), float_layers="int8")


def test_tensors_must_fit_the_network(saved):
    packed = read(saved / "bare.safetensors")

    def refused(match, **changes):
        with pytest.raises(InputError, match=match):
            Engine(PackedNetwork(**{**vars(packed), **changes}))

    refused("unknown", config=packed.config | {"model": "unet"})
    refused("unknown", config=packed.config | {"scale": 5})
    refused("srresnet", config=packed.config | {"model": "srresnet"})
    refused("tail", tensors={k: v for k, v in packed.tensors.items() if k != "tail.weight"})
    refused("tail", tensors=packed.tensors | {"tail.weight": np.zeros((3, 8, 3, 3), np.float32)})
    refused("do not fit", tensors=packed.tensors | {"head.bias": np.zeros(4, np.float32)})
    refused("do not fit", tensors={k: v for k, v in packed.tensors.items() if k != "blocks.0.conv1.alpha"})


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((3, 4, 4), np.float64), np.zeros((1, 4, 4), np.float32), np.zeros((4, 4), np.float32),
        np.zeros((3, 0, 4), np.float32), np.zeros((1, 3, 4, 4), np.float32),
    ],
)  # fmt: skip
def test_inputs_of_another_shape_are_refused(saved, x):
    with pytest.raises(InputError, match="give float32 of shape"):
        Engine.load(saved / "bare.safetensors").forward(x)


@pytest.mark.parametrize("image", [np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4)), np.zeros((0, 4), np.uint8)])
def test_images_of_another_kind_are_refused(saved, image):
    with pytest.raises(InputError, match="image"):
        Engine.load(saved / "bare.safetensors").upscale(image)


def test_pytorch_is_never_imported(saved):
    program = f"""
import sys
import numpy as np
import pipeline.engine.calibration
from pipeline.engine import Engine
Engine.load({str(saved / "calibrated.safetensors")!r}, "int8").upscale(np.zeros((3, 4, 3), np.uint8))
assert "torch" not in sys.modules, "torch was imported"
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("told", [held_environment(), {"NUMBA_CPU_NAME": "generic"}], ids=["AVX2", "generic"])
def test_kernels_for_other_processors_give_the_same(saved, told):
    """Numba told to use AVX2 alone, and of a processor that it knows nothing about."""
    program = (
        "import sys, numpy as np; from pipeline.engine import Engine;"
        "from pipeline.engine.kernels.channel import compiled;"
        f"path = {str(saved / 'calibrated.safetensors')!r}; assert not compiled.supported();"
        "x = np.random.default_rng(0).random((3, 21, 40), np.float32);"
        "[sys.stdout.buffer.write(Engine.load(path, **m).forward(x).tobytes()) for m in "
        "({}, {'activations': 'int8'}, {'activations': 'int6', 'float_layers': 'int8'})]"
    )
    x = np.random.default_rng(0).random((3, 21, 40), np.float32)
    path = saved / "calibrated.safetensors"
    modes = ({}, {"activations": "int8"}, {"activations": "int6", "float_layers": "int8"})
    here = np.stack([Engine.load(path, **mode).forward(x) for mode in modes])
    command = [sys.executable, "-c", program]
    others = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_CPU_")}
    run = subprocess.run(command, check=True, capture_output=True, env=others | told)
    there = np.frombuffer(run.stdout, np.float32).reshape(here.shape)
    size = np.abs(here).max()
    assert np.abs(here[0] - there[0]).max() <= 1e-5 * size
    # Rounding may fall to the other side of a half, for a few pixels.
    assert np.median(np.abs(here - there)) <= 1e-5 * size
    assert np.abs(here - there).max() <= 0.05 * size


def test_results_do_not_depend_on_what_lies_in_freed_memory(saved):
    """Freed memory is filled with a pattern: a kernel that used any of its arrays too late would read that."""
    program = (
        "import sys, numpy as np; from pipeline.engine import Engine;"
        f"path = {str(saved / 'calibrated.safetensors')!r};"
        "x = np.random.default_rng(0).random((3, 41, 70), np.float32);"
        "[sys.stdout.buffer.write(Engine.load(path, a).forward(x).tobytes()) for a in ('float32', 'int8', 'int6')]"
    )
    results = {
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            env={**os.environ, "MALLOC_PERTURB_": fill},
        ).stdout
        for fill in ("0", "85", "170")
    }
    assert len(results) == 1 and len(results.pop()) == 3 * 3 * 82 * 140 * 4


def test_a_long_value_is_cut_in_the_message(saved):
    packed = read(saved / "calibrated.safetensors")
    wrong = {"9" * 5000: 1}
    for kind, layer, value, arguments in (
        ("float_layers", "conv", wrong, {"float_layers": "int8"}),
        ("float_layers", "conv", {"low": [wrong] * 8}, {"float_layers": "int8"}),
        ("int8", "blocks.0.conv2", wrong, {"activations": "int8"}),
    ):
        ranges = packed.metadata["activations"][kind]
        metadata = {"activations": {**packed.metadata["activations"], kind: {**ranges, layer: value}}}
        with pytest.raises(InputError, match=f"metadata.activations.{kind}.{layer}") as caught:
            Engine(PackedNetwork(packed.config, metadata, packed.binary, packed.tensors), **arguments)
        assert len(str(caught.value)) < 200
