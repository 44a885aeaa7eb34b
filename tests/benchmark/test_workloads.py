"""The pieces that are timed: the engine and PyTorch run the same binary network."""

import numpy as np
import pytest
import torch

from pipeline.benchmark import workloads
from pipeline.engine import Engine
from tests.benchmark.conftest import BINARIZATION, SMALL, small_network


def assert_the_same(piece, height=6, width=9):
    x = piece.input(height, width)
    with torch.inference_mode():
        expected = piece.binary(torch.from_numpy(x)[None])[0].numpy()
        assert piece.real(torch.from_numpy(x)[None])[0].shape == expected.shape
    got = Engine(piece.packed, architecture=piece.architecture).forward(x)
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("model", SMALL)
def test_whole_networks_and_their_bodies(model):
    whole = small_network(model)
    assert whole.input(6, 9).shape == ((1, 12, 18) if model == "vdsr" else (3, 6, 9))
    assert_the_same(whole)
    body = workloads.body(whole)
    assert body.input(6, 9).shape == ((8, 12, 18) if model == "vdsr" else (8, 6, 9))
    assert_the_same(body)


def test_chains():
    chain = workloads.chain(8, 3, BINARIZATION)
    assert chain.layers == 3 and len(chain.packed.binary) == 3
    assert_the_same(chain)


@pytest.mark.parametrize("model", SMALL)
def test_every_binary_layer_has_a_range(model):
    whole = small_network(model)
    for piece in (whole, workloads.body(whole)):
        assert piece.packed.metadata["activations"]["int8"].keys() >= piece.packed.binary.keys()
