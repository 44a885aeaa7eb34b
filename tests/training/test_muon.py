"""Muon: the orthogonal factor against the SVD's, and steps against their definition."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.training.muon import SMALLEST, Muon, orthogonalize, suits_muon

SIDES = st.integers(1, 48)


def conditioned(count, rows, columns, seed):
    """Random matrices with singular values between 0.02 and 1, and their singular vectors."""
    rng = torch.Generator().manual_seed(seed)
    shape = (count, rows, columns)
    left, _, right = torch.linalg.svd(torch.randn(shape, generator=rng, dtype=torch.float64), full_matrices=False)
    values = 50 ** -torch.rand(count, 1, min(rows, columns), generator=rng, dtype=torch.float64)
    return (left * values) @ right, left, right


@given(st.integers(1, 3), SIDES, SIDES, st.floats(1e-3, 1e3), st.integers(0, 2**16))
def test_singular_values_come_near_1_and_the_vectors_stay(count, rows, columns, scale, seed):
    matrices, left, right = conditioned(count, rows, columns, seed)
    made = orthogonalize(scale * matrices)
    assert made.shape == matrices.shape and made.dtype == matrices.dtype
    values = torch.linalg.svdvals(made)
    assert values.min() > 0.6 and values.max() < 1.3
    turned = left.mT @ made @ right.mT  # in the basis of the singular vectors
    assert (turned - torch.diag_embed(turned.diagonal(dim1=1, dim2=2))).abs().max() < 1e-6
    nearest = left @ right
    cosines = (made * nearest).sum(dim=(1, 2)) / made.flatten(1).norm(dim=1) / nearest.flatten(1).norm(dim=1)
    assert cosines.min() > 0.95


def test_a_direction_without_gradient_stays_without():
    matrices, _, _ = conditioned(1, 8, 5, 0)
    matrices[:, :, 2] = 0
    assert orthogonalize(matrices)[:, :, 2].abs().max() == 0
    assert torch.equal(orthogonalize(torch.zeros(2, 4, 6)), torch.zeros(2, 4, 6))


@pytest.mark.parametrize(
    ("shape", "suits"),
    [
        ((32, 32, 3, 3), True),
        ((32, 32, 1, 1), True),
        ((256, 64, 3, 3), True),
        ((31, 64, 3, 3), False),
        ((64, 31, 3, 3), False),
        ((64, 3, 9, 9), False),
        ((3, 64, 3, 3), False),
        ((64, 64), False),
        ((64, 64, 3), False),
        ((64,), False),
        ((), False),
    ],
)
def test_banks_of_32_inputs_and_outputs_suit(shape, suits):
    assert SMALLEST == 32 and suits_muon(torch.zeros(shape)) is suits


def banks(*shapes, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=rng)) for shape in shapes]


def step(optimizer, parameters, gradients):
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = None if gradient is None else gradient.clone()
    optimizer.step()


def test_steps_are_those_of_the_definition():
    (bank,), rate, decay = banks((32, 40, 3, 3)), 0.01, 0.9
    expected, momentum = bank.detach().clone(), torch.zeros(32, 360)
    optimizer = Muon([bank], lr=rate, momentum=decay)
    for seed in range(1, 4):
        (gradient,) = banks((32, 40, 3, 3), seed=seed)
        step(optimizer, [bank], [gradient.detach()])
        matrix = gradient.detach().reshape(32, 360)
        momentum = decay * momentum + (1 - decay) * matrix
        nesterov = decay * momentum + (1 - decay) * matrix
        expected -= rate * 0.2 * 360**0.5 * orthogonalize(nesterov[None])[0].reshape(bank.shape)
        torch.testing.assert_close(bank.detach(), expected, rtol=0, atol=1e-6)


def test_the_weights_shrink_by_rate_times_decay():
    (bank,) = banks((32, 32, 3, 3))
    before = bank.detach().clone()
    optimizer = Muon([{"params": [bank], "weight_decay": 0.5}], lr=0.1, momentum=0.9)
    step(optimizer, [bank], [torch.zeros_like(bank)])
    torch.testing.assert_close(bank.detach(), 0.95 * before)


@pytest.mark.parametrize("shape", [(32, 32, 3, 3), (64, 64, 3, 3), (256, 64, 3, 3), (512, 32, 1, 1)])
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_the_root_mean_square_of_an_update_is_a_fifth_of_the_rate(shape, size):
    matrix, _, _ = conditioned(1, shape[0], shape[1] * shape[2] * shape[3], 3)
    (bank,) = banks(shape)
    before = bank.detach().clone()
    step(Muon([bank], lr=0.003, momentum=0.95), [bank], [size * matrix.float().reshape(shape)])
    moved = (bank.detach() - before).square().mean().sqrt()
    assert 0.7 < moved / (0.2 * 0.003) < 1.2


def test_banks_of_one_shape_step_together_as_each_alone():
    shapes = [(32, 32, 3, 3), (64, 32, 3, 3), (32, 32, 3, 3), (32, 32, 1, 1), (64, 32, 3, 3), (32, 32, 3, 3)]
    together, alone = banks(*shapes), banks(*shapes)
    one = Muon(together, lr=0.01, momentum=0.9)
    each = [Muon([bank], lr=0.01, momentum=0.9) for bank in alone]
    for seed in range(1, 4):
        # Gradients of very different sizes: a norm that is shared would show.
        gradients = [10.0**i * bank.detach() for i, bank in enumerate(banks(*shapes, seed=seed))]
        gradients[-1] = None if seed == 2 else gradients[-1]  # one that has none in this step
        step(one, together, gradients)
        for optimizer, bank, gradient in zip(each, alone, gradients, strict=True):
            step(optimizer, [bank], [gradient])
    for a, b, start in zip(together, alone, banks(*shapes), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-6)
        assert (a - start).abs().max() > 0.001


def test_the_state_goes_on_after_a_round_trip():
    shapes = [(32, 32, 3, 3), (32, 32, 3, 3), (48, 32, 3, 3)]
    whole = banks(*shapes)
    optimizer = Muon([{"params": whole[:2], "lr": 0.02}, {"params": whole[2:]}], lr=0.01, momentum=0.9)
    for seed in (1, 2):
        step(optimizer, whole, [bank.detach() for bank in banks(*shapes, seed=seed)])
    resumed = copy.deepcopy(whole)
    again = Muon([{"params": resumed[:2]}, {"params": resumed[2:]}], lr=0.5, momentum=0.1)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    fresh = copy.deepcopy(whole)
    without = Muon([{"params": fresh[:2], "lr": 0.02}, {"params": fresh[2:]}], lr=0.01, momentum=0.9)
    for seed in (3, 4):
        gradients = [bank.detach() for bank in banks(*shapes, seed=seed)]
        for made, parameters in ((optimizer, whole), (again, resumed), (without, fresh)):
            step(made, parameters, gradients)
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(whole, fresh, strict=True))  # the state does count


def test_it_learns_a_convolution():
    torch.manual_seed(0)
    teacher, module = nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
    module.bias = teacher.bias
    optimizer = Muon([module.weight], lr=0.03, momentum=0.9)
    losses = []
    for iteration in range(60):
        optimizer.param_groups[0]["lr"] = 0.03 * (1 - iteration / 60)
        inputs = torch.randn(4, 32, 8, 8)
        loss = nn.functional.mse_loss(module(inputs), teacher(inputs).detach())
        module.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 20
