"""Orthogonal regularisation: products of pairs of filters, not their lengths."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.training.terms.seen import seen, verdict
from training.terms.orthogonal import Orthogonal, squared_products

NOTHING = verdict(torch.zeros(2, 1))


@given(shape=st.sampled_from([(4, 9), (9, 4), (5, 5), (3, 2, 3, 3), (30, 2, 2, 2), (1, 7)]), seed=st.integers(0, 99))
def test_it_is_the_off_diagonal_of_the_product(shape: tuple[int, ...], seed: int) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    rows = weight.flatten(1)
    expected = ((rows @ rows.T) * (1 - torch.eye(len(rows)))).square().sum()
    torch.testing.assert_close(squared_products(weight), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("length", [0.1, 1.0, 7.0])
def test_orthogonal_filters_cost_nothing_whatever_their_length(length: float) -> None:
    weight = nn.init.orthogonal_(torch.empty(4, 2, 3, 3)) * length
    assert squared_products(weight).item() == pytest.approx(0, abs=1e-4 * max(1, length**4))
    torch.testing.assert_close(squared_products(torch.ones(3, 5)), torch.tensor(3 * 2 * 25.0))


def test_all_weights_of_the_net_count_and_no_vectors() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(5, 2))
    expected = squared_products(net[0].weight) + squared_products(net[3].weight)
    for side in ("discriminator", "generator"):
        torch.testing.assert_close(Orthogonal().value(seen(side, None, NOTHING, net=net)), expected)


def test_descent_makes_filters_orthogonal() -> None:
    weight = torch.rand(3, 6, requires_grad=True)
    optimizer = torch.optim.Adam([weight], 0.02)
    for _ in range(300):
        optimizer.zero_grad()
        squared_products(weight).backward()
        optimizer.step()
    rows = nn.functional.normalize(weight, dim=1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(3), rtol=0, atol=0.05)


def test_it_is_float32_under_bfloat16() -> None:
    weight = torch.randn(4, 6)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = squared_products(weight)
    torch.testing.assert_close(mixed, squared_products(weight))
