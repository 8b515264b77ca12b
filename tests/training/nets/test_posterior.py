"""Q, which reads codes from features: its heads, what they share, and the bounds of the variance."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from tests.training.tiny import code_gan, dots
from training.nets.posterior import Posterior, PosteriorConfig


def make(categorical=(5, 3), continuous: int = 2, *, learned_variance: bool = True) -> Posterior:
    torch.manual_seed(0)
    return Posterior(16, PosteriorConfig(hidden=8, learned_variance=learned_variance), categorical, continuous)


def test_there_is_a_head_for_each_code() -> None:
    reading = make()(torch.randn(6, 16))
    assert [tuple(logits.shape) for logits in reading.categorical] == [(6, 5), (6, 3)]
    assert reading.mean.shape == reading.log_variance.shape == (6, 2)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize(("categorical", "continuous"), [((), 3), ((4,), 0)])
def test_there_may_be_no_codes_of_a_kind(categorical: tuple[int, ...], continuous: int) -> None:
    reading = make(categorical, continuous)(torch.randn(2, 16))
    assert len(reading.categorical) == len(categorical)
    assert reading.mean.shape == reading.log_variance.shape == (2, continuous)


def test_a_variance_that_is_not_learnt_is_one() -> None:
    net = make(learned_variance=False)
    assert torch.equal(net(torch.randn(4, 16)).log_variance, torch.zeros(4, 2))
    assert not any("log_variance" in name for name in net.state_dict())


def test_a_learnt_variance_stays_within_bounds() -> None:
    net = make()
    for bias, expected in ((1e4, 2), (-1e4, -6)):
        nn.init.constant_(net.log_variance.bias, bias)
        log_variance = net(torch.randn(4, 16)).log_variance
        torch.testing.assert_close(log_variance, torch.full((4, 2), float(expected)))


def test_a_reading_is_float32_where_nets_run_in_bfloat16() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        reading = make()(torch.randn(4, 16))
    assert {each.dtype for each in (*reading.categorical, reading.mean, reading.log_variance)} == {torch.float32}


def test_every_parameter_learns() -> None:
    net = make()
    reading = net(torch.randn(4, 16))
    sum(each.square().sum() for each in (*reading.categorical, reading.mean, reading.log_variance)).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("part", ["score", "categorical", "mean"])
def test_the_score_and_every_head_teach_the_shared_trunk(part: str) -> None:
    torch.manual_seed(0)
    net = code_gan().build_discriminator(dots().info)
    scores, features = net(torch.randn(4, 1, 8, 8))
    reading = net.heads["codes"](features)
    output = {"score": scores, "categorical": reading.categorical[1], "mean": reading.mean}[part]
    output.square().sum().backward()
    assert net.trunk.layers[0].bias.grad.abs().sum() > 0


def test_spectral_norm_holds_the_trunk_and_the_score_but_not_q() -> None:
    net = code_gan().build_discriminator(dots().info)
    assert all(parametrize.is_parametrized(layer) for layer in [*net.trunk.layers, net.score])
    assert not any(parametrize.is_parametrized(layer) for layer in net.heads["codes"].modules())
