"""Layers prepared for one size: a pass over another image gives what a new engine gives."""

from dataclasses import replace

import numba
import numpy as np
import pytest

from pipeline.engine import Engine
from pipeline.engine.calibration import calibrate
from pipeline.engine.layers import layers_of
from pipeline.engine.steps import Step
from pipeline.engine.workspace import Workspace
from pipeline.errors import InputError
from pipeline.packed import PackedNetwork, read
from tests.engine.random_networks import save_random
from tests.engine.reference import ReferenceOps

MODES = {
    "float32": {"activations": "float32"},
    "int8": {"activations": "int8", "float_layers": "int8"},
    "int1": {"activations": "int1"},
}


def network(folder, model, **sizes):
    """Return a random network, calibrated."""
    path, image = folder / "network.safetensors", np.random.default_rng(0).integers(0, 256, (12, 17, 3), np.uint8)
    save_random(path, model, 2, channels=18, **sizes)
    return replace(read(path), metadata={"activations": calibrate(path, [image])})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("model", "sizes"), [("srresnet", {"blocks": 2}), ("edsr", {"blocks": 2}), ("vdsr", {"layers": 5})]
)
def test_later_images_do_not_see_earlier_ones(tmp_path, model, sizes, mode):
    packed, rng = network(tmp_path, model, **sizes), np.random.default_rng(0)
    engine, earlier = Engine(packed, **MODES[mode]), []
    for shape in [(11, 14), (11, 14), (14, 11), (11, 14), (11, 14)]:
        x = rng.random((engine.architecture.channels, *shape), np.float32)
        got, expected = engine.forward(x), Engine(packed, **MODES[mode]).forward(x)
        np.testing.assert_array_equal(got, expected)
        earlier.append((got, expected))
    for got, expected in earlier:  # results are no buffers of the engine
        np.testing.assert_array_equal(got, expected)


def test_buffers_are_as_many_as_are_used_at_a_time(tmp_path):
    sizes = []
    for blocks in (4, 7):
        engine, x = Engine(network(tmp_path, "edsr", blocks=blocks), "int8"), np.zeros((3, 20, 20), np.float32)
        engine.forward(x)
        sizes.append(engine.ops.workspace.nbytes)
        engine.forward(x)
        assert engine.ops.workspace.nbytes == sizes[-1]
    assert sizes[0] == sizes[1]


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="a single thread")
def test_the_number_of_threads_may_change_between_images(tmp_path):
    engine, x = Engine(network(tmp_path, "edsr", blocks=1)), np.random.default_rng(0).random((3, 20, 20), np.float32)
    results, before = [], numba.get_num_threads()
    try:
        for threads in (1, 2, 1):
            numba.set_num_threads(threads)
            results.append(engine.forward(x))
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


class Derived:
    """A pass with arithmetic between layers: an array of another shape than the input enters in the middle."""

    model, scale, channels = "derived", 1, 3

    def forward(self, ops, x):
        a = ops.conv("head", x)
        return ops.conv("mix", np.float32(0.5) * ops.conv("inner", a), residual=a)


class Repeated(Derived):
    def forward(self, ops, x):
        return ops.conv("inner", ops.conv("inner", ops.conv("head", x)))


def own_network(rng):
    shapes = {"head": (18, 3, 3, 3), "inner": (18, 18, 3, 3), "mix": (18, 18, 3, 3)}
    tensors = {f"{name}.weight": rng.standard_normal(shape).astype(np.float32) / 9 for name, shape in shapes.items()}
    biases = {f"{name}.bias": rng.standard_normal(shape[0]).astype(np.float32) for name, shape in shapes.items()}
    return PackedNetwork({"model": "derived", "scale": 1}, {}, {}, tensors | biases, "float32")


def test_arrays_may_enter_in_the_middle(tmp_path):
    rng = np.random.default_rng(0)
    packed, architecture = own_network(rng), Derived()
    engine, reference = Engine(packed, architecture=architecture), ReferenceOps(layers_of(packed, architecture), {})
    for _ in range(3):
        x = rng.random((3, 9, 11), np.float32)
        np.testing.assert_allclose(engine.forward(x), architecture.forward(reference, x), rtol=1e-4, atol=1e-4)


def test_a_layer_that_runs_twice_is_refused():
    with pytest.raises(InputError, match="inner: runs twice"):
        Engine(own_network(np.random.default_rng(0)), architecture=Repeated())


def test_scratch_is_free_after_preparing_and_the_output_after_its_release():
    workspace = Workspace()
    step = Step(workspace)
    scratch, output = step.buffer((3,), np.float32), step.buffer((3,), np.float32, kept=True)
    step.load = lambda x: np.copyto(scratch, x)
    step.load_residual = lambda residual: np.add(scratch, residual, out=scratch)
    step.call(np.multiply, scratch, 2, output)
    step.finish(output)
    assert workspace.take((3,), np.float32) is scratch
    assert workspace.take((3,), np.float32) is not output
    step.release()
    assert workspace.take((3,), np.float32) is output
    assert step([1, 2, 3], [1, 1, 1]).tolist() == [4, 6, 8] and step([0, 0, 0], [0, 0, 5]).tolist() == [0, 0, 10]
