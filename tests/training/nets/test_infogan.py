"""The InfoGAN's discriminator and Q: the heads, what they share, and the bounds of the variance."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from training.nets.infogan import InfoDiscriminator


def make(size: int = 16, channels: int = 1, **changes) -> InfoDiscriminator:
    torch.manual_seed(0)
    options = {"categorical": (5, 3), "continuous": 2, "learned_variance": True, "normalise": True, **changes}
    return InfoDiscriminator(channels=channels, size=size, width=4, hidden=8, **options)


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (16, 3), (28, 1)])
def test_there_is_a_score_and_a_head_for_each_code(size: int, channels: int) -> None:
    net = make(size, channels)
    scores, features = net(torch.randn(6, channels, size, size))
    guess = net.guess(features)
    assert scores.shape == (6,)
    assert [tuple(logits.shape) for logits in guess.categorical] == [(6, 5), (6, 3)]
    assert guess.mean.shape == guess.log_variance.shape == (6, 2)


def test_an_odd_size_is_refused() -> None:
    with pytest.raises(ValueError, match="must be even, got 27"):
        make(27)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize(("categorical", "continuous"), [((), 3), ((4,), 0)])
def test_there_may_be_no_codes_of_a_kind(categorical: tuple[int, ...], continuous: int) -> None:
    net = make(categorical=categorical, continuous=continuous)
    guess = net.guess(net(torch.randn(2, 1, 16, 16))[1])
    assert len(guess.categorical) == len(categorical)
    assert guess.mean.shape == guess.log_variance.shape == (2, continuous)


def test_a_variance_that_is_not_learnt_is_one() -> None:
    net = make(learned_variance=False)
    guess = net.guess(net(torch.randn(4, 1, 16, 16))[1])
    assert torch.equal(guess.log_variance, torch.zeros(4, 2))
    assert not any("log_variance" in name for name in net.state_dict())


def test_a_learnt_variance_stays_within_bounds() -> None:
    net = make()
    for bias, expected in ((1e4, 2), (-1e4, -6)):
        nn.init.constant_(net.log_variance.bias, bias)
        log_variance = net.guess(net(torch.randn(4, 1, 16, 16))[1]).log_variance
        torch.testing.assert_close(log_variance, torch.full((4, 2), float(expected)))


@pytest.mark.parametrize("normalise", [True, False])
def test_the_trunk_and_the_score_are_normalised_but_q_is_not(normalise: bool) -> None:
    net = make(normalise=normalise)
    layers = [layer for layer in net.trunk if isinstance(layer, nn.Conv2d)]
    assert all(parametrize.is_parametrized(layer) is normalise for layer in [*layers, net.score])
    assert not any(parametrize.is_parametrized(layer) for layer in [*net.categorical, net.mean, net.log_variance])


def test_the_score_and_every_head_teach_the_shared_trunk() -> None:
    def pulls(output) -> float:
        net = make()
        scores, features = net(torch.randn(4, 1, 16, 16))
        output(scores, net.guess(features)).square().sum().backward()
        return net.trunk[1].bias.grad.abs().sum().item()

    assert pulls(lambda scores, guess: scores) > 0
    assert pulls(lambda scores, guess: guess.categorical[1]) > 0
    assert pulls(lambda scores, guess: guess.mean) > 0
    assert pulls(lambda scores, guess: guess.log_variance) > 0


def test_every_parameter_learns() -> None:
    net = make()
    scores, features = net(torch.randn(4, 1, 16, 16))
    guess = net.guess(features)
    sum(output.square().sum() for output in (scores, *guess.categorical, guess.mean, guess.log_variance)).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
