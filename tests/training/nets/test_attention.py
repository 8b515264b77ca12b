"""Self-attention: nothing at first, then the paper's sum over all places."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.nets.attention import SelfAttention


def layer(channels: int = 16, gain: float = 1.0, norm: str = "none") -> SelfAttention:
    torch.manual_seed(0)
    net = SelfAttention(channels, norm)
    torch.nn.init.constant_(net.gain, gain)
    return net.requires_grad_(False)


@pytest.mark.parametrize("norm", ["none", "spectral"])
def test_it_begins_as_the_identity_and_learns_to_be_another(norm: str) -> None:
    net, maps = SelfAttention(16, norm), torch.randn(2, 16, 5, 4)
    output = net(maps)
    assert torch.equal(output, maps)
    output.square().sum().backward()
    assert net.gain.grad != 0


def test_it_is_the_papers_sum() -> None:
    """Equations 1 to 3, place by place; two channels within, an eighth of those without."""
    net, maps = layer(gain=0.7), torch.randn(1, 16, 2, 3)
    assert net.query.out_channels == 2

    def of(module: torch.nn.Module, places: Tensor) -> Tensor:
        return module.weight.flatten(1) @ places

    places = maps[0].flatten(1)
    f, g, h = of(net.key, places), of(net.query, places), of(net.value, places)
    expected = torch.empty_like(places)
    for j in range(6):
        shares = torch.softmax(torch.stack([f[:, i] @ g[:, j] for i in range(6)]), 0)
        found = sum(share * h[:, i] for i, share in enumerate(shares))
        expected[:, j] = 0.7 * of(net.output, found) + places[:, j]
    torch.testing.assert_close(net(maps)[0].flatten(1), expected)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(6)))
def test_places_in_another_order_find_the_same(order: list[int]) -> None:
    maps = torch.randn(2, 16, 1, 6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(layer()(maps[..., order]), layer()(maps)[..., order])
