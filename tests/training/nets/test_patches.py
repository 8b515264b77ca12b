"""Nets whose layers at full resolution work on patches; what all kinds of net share is in test_kinds."""

import pytest
import torch
from torch import nn

from tests.training.nets.kinds import CONDITIONS, make_discriminator, make_generator

NORMS = ["none", "spectral", "batch", "layer", "weight"]


@pytest.mark.parametrize("size", [14, 20])
def test_any_even_size_will_do(size: int) -> None:
    images = make_generator("patches", size)(torch.randn(2, 8), CONDITIONS[:2])
    assert make_discriminator("patches", size)(images)[0].shape == (2,)


def test_an_odd_size_is_refused() -> None:
    with pytest.raises(ValueError, match="must be even, got 27"):
        make_generator("patches", 27)
    with pytest.raises(ValueError, match="must be even, got 27"):
        make_discriminator("patches", 27)


@pytest.mark.parametrize("norm", NORMS)
def test_every_parameter_of_both_nets_learns(norm: str) -> None:
    generator = make_generator("patches").train()
    discriminator = make_discriminator("patches", norm=norm, concat=True, projection=True)
    scores, features = discriminator(generator(torch.randn(3, 8), CONDITIONS), CONDITIONS)
    (scores.square().sum() + discriminator.heads["head"](features).square().sum()).backward()
    for name, parameter in [*generator.named_parameters(), *discriminator.named_parameters()]:
        assert parameter.grad is not None, name
        # A bias in front of a batch normalisation has no effect.
        if norm != "batch" or not (name.startswith("trunk.layers") and name.endswith("bias")):
            assert parameter.grad.abs().sum() > 0, name


def test_first_weights_are_normal_where_that_is_asked_for() -> None:
    nets = [make_generator("patches", width=32, init="normal")]
    nets += [make_discriminator("patches", width=32, norm="batch", init="normal")]
    for net in nets:
        layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
        weights = torch.cat([layer.weight.detach().flatten() for layer in layers])
        assert weights.std().item() == pytest.approx(0.02, rel=0.01)
        assert abs(weights.mean().item()) < 1e-3
        assert all(not layer.bias.any() for layer in layers if layer.bias is not None)
        scales = torch.cat([m.weight.detach() for m in net.modules() if isinstance(m, nn.BatchNorm2d)])
        assert scales.mean().item() == pytest.approx(1, abs=0.01)
        assert scales.std().item() == pytest.approx(0.02, rel=0.3)


def test_torchs_own_first_weights_are_others() -> None:
    """The spread that a plain DCGAN must not have: it follows the layers' sizes."""
    layers = make_discriminator("patches", width=32, norm="batch").trunk.layers
    spreads = [layer.weight.std().item() for layer in layers]
    assert max(spreads) / min(spreads) > 2
