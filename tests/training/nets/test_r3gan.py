"""R3GAN's nets: their blocks, and first weights that neither blow up nor fade."""

import math

import pytest
import torch
from torch import nn

from tests.training.nets.kinds import CONDITIONS, make_discriminator, make_generator
from tests.training.tiny import build, gan, take_step
from training.nets.r3gan import Block


@pytest.mark.parametrize(("channels", "groups"), [(768, 96), (64, 8), (24, 3), (4, 1), (28, 7)])
def test_a_block_is_an_inverted_bottleneck_around_groups_of_sixteen_channels(channels: int, groups: int) -> None:
    """The paper's 768 channels have 96 groups; odd widths have smaller groups."""
    first, second, third = (layer for layer in Block(channels, 1).layers if isinstance(layer, nn.Conv2d))
    assert (first.in_channels, first.out_channels, first.kernel_size) == (channels, 2 * channels, (1, 1))
    assert (second.in_channels, second.groups, second.kernel_size) == (2 * channels, groups, (3, 3))
    assert (third.in_channels, third.out_channels, third.kernel_size) == (2 * channels, channels, (1, 1))


def test_a_block_begins_as_the_identity_and_its_weights_follow_the_depth() -> None:
    maps = torch.randn(2, 64, 4, 4)
    for depth in (1, 16):
        block = Block(64, depth)
        assert torch.equal(block(maps), maps)
        first, second, third = (layer for layer in block.layers if isinstance(layer, nn.Conv2d))
        for layer, fan_in in ((first, 64), (second, 16 * 9)):
            expected = math.sqrt(2 / 1.04 / fan_in) * depth**-0.25
            assert layer.weight.std().item() == pytest.approx(expected, rel=0.05)
        assert not third.weight.any()


def test_variances_pass_through_first_weights() -> None:
    generator = make_generator("r3gan", 32, 3, width=16, max_width=32).train()
    assert 0.3 < generator(torch.randn(32, 8), CONDITIONS[torch.arange(32) % 3]).std() < 3
    plain = torch.randn(32, 3, 1, 1).expand(-1, -1, 32, 32)  # of noise, means over places leave little
    assert 0.3 < make_discriminator("r3gan", 32, 3, width=16, max_width=32)(plain)[1].std() < 3


def test_there_is_no_normalisation() -> None:
    for net in (make_generator("r3gan"), make_discriminator("r3gan")):
        kinds = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
        assert not any(isinstance(module, kinds) or hasattr(module, "parametrizations") for module in net.modules())


def test_images_are_bounded_only_when_they_are_made_to_be_seen() -> None:
    net, z = make_generator("r3gan", condition_size=0), 20 * torch.randn(4, 8)
    learning = net.train()(z)
    assert learning.abs().max() > 1
    assert torch.equal(net.eval()(z), learning.clamp(-1, 1))


def test_the_generator_begins_with_a_mixture_of_learnt_maps() -> None:
    net, z = make_generator("r3gan", 28, condition_size=0), torch.randn(2, 8)
    assert net.basis.shape == (8, 7, 7)
    given: list[torch.Tensor] = []
    net.layers.register_forward_hook(lambda _layers, inputs, _output: given.append(inputs[0]))
    net(z)
    expected = torch.einsum("bc,chw->bchw", z @ net.coefficients.weight.T, net.basis)
    torch.testing.assert_close(given[0], expected)


def test_resolutions_halve_bilinearly() -> None:
    """Means over 2x2 places are what bilinear interpolation to half the resolution gives."""
    maps = torch.randn(1, 2, 8, 8)
    half = nn.functional.interpolate(maps, scale_factor=0.5, mode="bilinear")
    torch.testing.assert_close(nn.AvgPool2d(2)(maps), half)


def test_it_trains_under_the_papers_losses() -> None:
    narrow = {"kind": "r3gan", "width": 4, "max_width": 8, "blocks": 1}
    model = build(
        gan(
            generator=narrow, discriminator=narrow, objective="relativistic", terms__r1__weight=1, terms__r2__weight=1
        )
    )  # fmt: skip
    report = take_step(model)
    assert {"discriminator/r1", "discriminator/r2"} <= report.keys()
    assert all(value.isfinite() for value in report.values())
