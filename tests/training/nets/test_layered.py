"""Trunks of layers one behind the other: their norms, and the condition beside each layer's input."""

import pytest
import torch
from torch import nn

from tests.training.nets.kinds import CONDITIONS, make_discriminator

NORMS = ["none", "spectral", "batch", "layer", "weight"]
KINDS = ["patches", "perceptron", "dcgan"]


def test_concatenation_equals_label_planes_beside_the_input() -> None:
    """The claim in the net's comment: away from the border, planes are one number a class and output channel."""
    discriminator = make_discriminator("patches", norm="none", concat=True)
    convolution, embedding = discriminator.trunk.layers[0], discriminator.trunk.concatenated[0]
    with_planes = nn.Conv2d(4 + 3, 4, kernel_size=3, padding=1)
    with torch.no_grad():
        with_planes.bias.copy_(convolution.bias)
        with_planes.weight[:, :4] = convolution.weight
        with_planes.weight[:, 4:] = embedding.weight.T[:, :, None, None] / 9  # the nine taps add up to it
    maps, labels = torch.randn(3, 4, 8, 8), torch.tensor([2, 0, 1])
    planes = nn.functional.one_hot(labels, 3).float()[:, :, None, None].expand(-1, -1, 8, 8)
    expected = with_planes(torch.cat([maps, planes], dim=1))[..., 1:-1, 1:-1]
    torch.testing.assert_close(
        (convolution(maps) + embedding(CONDITIONS[labels])[:, :, None, None])[..., 1:-1, 1:-1], expected
    )


def test_before_a_fully_connected_layer_it_is_the_condition_itself() -> None:
    net = make_discriminator("perceptron", hidden=(5,), concat=True)
    layer, embedding = net.trunk.layers[0], net.trunk.concatenated[0]
    weight = torch.cat([layer.weight, embedding.weight.T], 1)
    images, conditions = torch.randn(3, 1, 16, 16), CONDITIONS
    beside = nn.functional.linear(torch.cat([images.flatten(1), conditions], 1), weight, layer.bias)
    torch.testing.assert_close(net(images, conditions)[1], nn.functional.leaky_relu(beside, 0.2))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_norm_stands_behind_every_layer_but_the_first(kind: str, norm: str) -> None:
    batch = nn.BatchNorm1d if kind == "perceptron" else nn.BatchNorm2d
    expected = dict.fromkeys(NORMS, nn.Identity) | {"batch": batch, "layer": nn.GroupNorm}
    first, *others = make_discriminator(kind, norm=norm, init="torch").trunk.norms
    assert isinstance(first, nn.Identity)
    assert others
    assert all(isinstance(layer, expected[norm]) for layer in others)


@pytest.mark.parametrize("shape", [(3, 8, 4, 4), (3, 12)])
def test_a_layer_norm_is_over_all_channels_and_places_of_an_image(shape: tuple[int, ...]) -> None:
    layer = make_discriminator("patches" if len(shape) == 4 else "perceptron", norm="layer").trunk.norms[1]
    maps = torch.randn(shape) * 5 + 2
    torch.testing.assert_close(layer(maps), nn.functional.layer_norm(maps, maps.shape[1:]))


@pytest.mark.parametrize("norm", NORMS)
def test_what_no_norm_holds_is_a_parameter_as_it_is(norm: str) -> None:
    for layer in make_discriminator("patches", norm=norm).trunk.layers:
        assert isinstance(layer.weight, nn.Parameter) is (norm not in ("spectral", "weight"))


def test_weight_normalisation_learns_lengths_apart_from_directions() -> None:
    net = make_discriminator("patches", norm="weight")
    for layer in (*net.trunk.layers, net.score):
        length, direction = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
        rows = nn.functional.normalize(direction.flatten(1), dim=1)
        torch.testing.assert_close(layer.weight.flatten(1), length.flatten(1) * rows)
