"""First weights of layers that are held: it is the weight behind the norm that is drawn."""

import copy

import pytest
import torch
from torch import nn

from training.nets.discriminator import held
from training.nets.first_weights import drawn


@pytest.mark.parametrize("norm", ["none", "spectral", "weight"])
@pytest.mark.parametrize("layer", [nn.Linear(12, 5), nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(4, 2, 4)], ids=str)
def test_orthogonal_weights_have_singular_values_of_one(layer: nn.Module, norm: str) -> None:
    net = drawn(nn.Sequential(held(copy.deepcopy(layer), norm)), "orthogonal").eval()
    behind = net[0].parametrizations.weight.original if norm == "spectral" else net[0].weight
    torch.testing.assert_close(torch.linalg.svdvals(behind.detach().flatten(1)), torch.ones(behind.shape[0]))
    assert not net[0].bias.any()
