"""Residual nets, and what makes them SNGAN's, SAGAN's and BigGAN's."""

import pytest
import torch
from torch import nn

from tests.training.nets.kinds import (
    CONDITIONS,
    held_weights,
    largest_singular_values,
    make_discriminator,
    make_generator,
    wake,
)
from tests.training.tiny import gan
from training.config import ConfigError
from training.nets.attention import SelfAttention
from training.nets.residual import DownBlock, ModulatedNorm, UpBlock

BIG = {"modulation": True, "skip_latent": True, "spectral": True, "embedding": 5, "attention": 8}
"""All that makes a generator BigGAN's."""


def big(size: int = 16, **changes) -> nn.Module:
    return make_generator("residual", size, **BIG | changes)


def test_a_generator_has_a_block_for_each_time_that_the_resolution_doubles() -> None:
    """BigGAN's at 128 pixels, an eighth as wide: 16, 16, 8, 4, 2 and 1 times the width."""
    net = make_generator("residual", 128, width=8, max_width=128)
    widths = [(block.convolutions[0].in_channels, block.convolutions[0].out_channels) for block in net.blocks]
    assert widths == [(128, 128), (128, 64), (64, 32), (32, 16), (16, 8)]
    assert net.project.out_features == 128 * 4 * 4


def test_a_discriminator_has_one_block_more_and_sums_over_places() -> None:
    """SNGAN's at 128 pixels, an eighth as wide."""
    net = make_discriminator("residual", 128, width=8, max_width=128)
    blocks = [*net.trunk.blocks, net.trunk.last]
    assert [block.convolutions[1].out_channels for block in blocks] == [8, 16, 32, 64, 128, 128]
    maps: list[torch.Tensor] = []
    net.trunk.last.register_forward_hook(lambda *given: maps.append(given[2]))
    _, features = net(torch.randn(2, 1, 128, 128))
    assert maps[0].shape == (2, 128, 4, 4)
    torch.testing.assert_close(features, maps[0].relu().sum((2, 3)))


def test_the_shortcut_is_enlarged_as_the_paper_does() -> None:
    """A 1x1 convolution before or after enlargement by repetition gives the same."""
    block, maps = UpBlock(6, 4, "none", modulated_by=0), torch.randn(2, 6, 5, 5)
    enlarge = nn.Upsample(scale_factor=2)
    change = block.convolutions[0](enlarge(torch.relu(block.norms[0](maps, maps))))
    change = block.convolutions[1](torch.relu(block.norms[1](change, maps)))
    torch.testing.assert_close(block(maps, maps), block.shortcut(enlarge(maps)) + change)


def test_the_first_block_takes_images_as_they_are() -> None:
    maps = torch.randn(2, 6, 8, 8)
    for is_first in (True, False):
        block = DownBlock(6, 4, "layer", is_first=is_first)
        given = maps if is_first else torch.relu(block.norms[0](maps))
        change = block.convolutions[1](torch.relu(block.norms[1](block.convolutions[0](given))))
        expected = nn.functional.avg_pool2d(change, 2) + block.shortcut(nn.functional.avg_pool2d(maps, 2))
        torch.testing.assert_close(block(maps), expected)
        assert isinstance(block.norms[0], nn.Identity) is is_first


def test_gains_and_biases_are_linear_in_what_modulates_them() -> None:
    layer, maps = ModulatedNorm(2, 3, "none"), torch.randn(4, 2, 5, 5)
    with torch.no_grad():
        layer.modulation.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 2, 0], [0, 0, 3], [4, 0, 0]]))
    plain = nn.BatchNorm2d(2)(maps)
    given = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    gains = torch.tensor([[1.0, 1], [2, 1], [1, 3], [1, 1]])[:, :, None, None]
    biases = torch.tensor([[0.0, 0], [0, 4], [0, 0], [3, 0]])[:, :, None, None]
    torch.testing.assert_close(layer(maps, given), plain * gains + biases)


def test_under_modulation_the_condition_reaches_the_image_by_gains_alone() -> None:
    net = make_generator("residual", modulation=True)
    assert net.project.in_features == 8
    z = torch.randn(1, 8)
    assert not torch.allclose(net(z, CONDITIONS[:1]), net(z, CONDITIONS[1:2]), atol=1e-4)
    for module in net.modules():
        if isinstance(module, ModulatedNorm):
            nn.init.zeros_(module.modulation.weight)
    assert torch.equal(net(z, CONDITIONS[:1]), net(z, CONDITIONS[1:2]))


@pytest.mark.parametrize(("size", "parts"), [(16, [3, 3, 2]), (64, [2, 2, 2, 1, 1])])
def test_each_block_has_its_own_part_of_the_latent(size: int, parts: list[int]) -> None:
    net = big(size, attention=0)
    assert net.parts == parts
    assert net.project.in_features == parts[0]
    given: list[torch.Tensor] = []
    for block in net.blocks:
        block.register_forward_hook(lambda _block, inputs, _output: given.append(inputs[1]))
    z = torch.randn(2, 8)
    net(z, CONDITIONS[:2])
    embedded = net.given.embedding(CONDITIONS[:2])
    for block_given, part in zip(given, z.split(parts, 1)[1:], strict=True):
        assert torch.equal(block_given, torch.cat([part, embedded], 1))


def test_parts_of_the_latent_modulate_without_a_condition_too() -> None:
    net, z = big(condition_size=0), torch.randn(1, 8)
    other = z.clone()
    other[:, -1] += 1
    assert not torch.allclose(net(z), net(other), atol=1e-5)


def test_every_parameter_learns_with_everything_on() -> None:
    net = wake(big()).train()
    (net(torch.randn(4, 8), CONDITIONS[[0, 1, 2, 0]]) * torch.randn(4, 1, 16, 16)).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad.abs().max() > 1e-7, name


@pytest.mark.parametrize("attention", [4, 8])
def test_attention_stands_where_maps_have_its_resolution_and_is_nothing_at_first(attention: int) -> None:
    seen: list[int] = []
    net = make_discriminator("residual", attention=attention)
    (layer,) = [module for module in net.modules() if isinstance(module, SelfAttention)]
    layer.register_forward_hook(lambda _layer, _inputs, maps: seen.append(maps.shape[-1]))
    images, plain = torch.randn(2, 1, 16, 16), make_discriminator("residual")
    state = {name: value for name, value in net.state_dict().items() if "attentions" not in name}
    plain.load_state_dict(state)
    assert torch.equal(net(images)[0], plain(images)[0])
    assert seen == [attention]


def test_attention_where_there_are_no_such_maps_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"generator\.attention=4: this net has maps of 8, 16 pixels; 0 is none"):
        make_generator("residual", attention=4)
    with pytest.raises(ConfigError, match=r"discriminator\.attention=16: this net has maps of 8, 4 pixels; 0 is none"):
        make_discriminator("residual", attention=16)


@pytest.mark.parametrize("init", ["torch", "orthogonal"])
def test_a_spectral_norm_holds_every_weight_of_the_generator_but_the_embedding(init: str) -> None:
    net = big(8, init=init).train()
    held = held_weights(net).keys()
    matrices = {name for name, module in net.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    assert held == matrices - {"given.embedding"}
    for _ in range(300 if init == "torch" else 1):
        net(torch.randn(2, 8), CONDITIONS[:2])
    net.eval()
    assert largest_singular_values(net) == pytest.approx(dict.fromkeys(held, 1), abs=1e-3)


def test_it_exports_with_everything_on() -> None:
    net = wake(big(8))
    batch = torch.export.Dim("batch", min=1, max=64)
    example = (torch.randn(2, 8), CONDITIONS[:2])
    program = torch.export.export(net, example, dynamic_shapes=({0: batch}, {0: batch}))
    for count in (1, 7):
        z, conditions = torch.randn(count, 8), torch.rand(count, 3)
        torch.testing.assert_close(program.module()(z, conditions), net(z, conditions))


def test_parts_of_the_latent_without_modulation_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^--set generator\.skip_latent=true: .* needs generator\.modulation=true"):
        gan().changed({"generator.kind": "residual", "generator.skip_latent": True})


def test_modulation_by_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"modulation=true: .* needs a condition, .* or generator\.skip_latent=true"):
        make_generator("residual", condition_size=0, modulation=True)


def test_a_latent_of_fewer_numbers_than_parts_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--set latent_size=8: .* cut into 9 parts, so give at least 9"):
        big(1024, attention=0)
