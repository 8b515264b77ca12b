"""Fully connected nets: their layers, and the noise between them."""

import pytest
import torch
from torch import nn

from tests.training.nets.kinds import make_discriminator, make_generator
from tests.training.tiny import gan
from training.config import ConfigError
from training.nets.perceptron import NoisyLinear, PerceptronGeneratorConfig


def test_hidden_sizes_are_given_as_a_text() -> None:
    changed = gan().changed({"generator.kind": "perceptron", "generator.hidden": "7, 9"})
    assert changed.generator == PerceptronGeneratorConfig(hidden=(7, 9))
    for text in ("", "0", "7,x"):
        with pytest.raises(ConfigError, match=r"^--set generator\.hidden="):
            changed.changed({"generator.hidden": text})


@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_generator_has_a_layer_for_each_hidden_size(batch_norm: bool) -> None:
    net = make_generator("perceptron", 4, hidden=(7, 9, 11), batch_norm=batch_norm)
    layers = [module for module in net.modules() if isinstance(module, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in layers] == [(8 + 3, 7), (7, 9), (9, 11), (11, 16)]
    assert sum(isinstance(module, nn.BatchNorm1d) for module in net.modules()) == 3 * batch_norm
    assert [layer.bias is None for layer in layers] == [batch_norm] * 3 + [False]


def test_noise_is_drawn_from_torchs_source_while_the_net_learns() -> None:
    net, images = make_discriminator("perceptron", noise=0.5), torch.randn(2, 1, 16, 16)
    scores = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        scores.append(net(images)[0])
    assert torch.equal(scores[0], scores[1])
    assert not torch.allclose(scores[0], scores[2])
    assert torch.equal(net.eval()(images)[0], make_discriminator("perceptron").eval()(images)[0])


def test_images_get_less_noise_than_what_is_between_layers() -> None:
    layers = make_discriminator("perceptron", hidden=(3, 3, 3), noise=0.5).trunk.layers
    assert [layer.noise for layer in layers] == pytest.approx([0.3, 0.5, 0.5])


def test_noise_has_the_deviation_that_is_asked_for() -> None:
    layer = NoisyLinear(200, 200, noise=0.3)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(200))
        layer.bias.zero_()
        noise = layer(torch.full((200, 200), 2.0)) - 2
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)
    assert abs(noise.mean().item()) < 0.01
