"""The moving average against its formula."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from training.config import EmaConfig
from training.engine.ema import Ema


def net(value: float) -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.fill_(value)
    return module


def test_half_the_weight_is_forgotten_after_a_half_life() -> None:
    ema = Ema(net(0.0), EmaConfig(half_life=1000, rampup=1))
    for step in range(10):
        ema.update(net(1.0), images=1_000_000 + 100 * (step + 1), batch=100)
    torch.testing.assert_close(ema.module[0].weight, torch.full((2, 2), 0.5))


def test_the_half_life_ramps_up_with_the_images_seen() -> None:
    ema = Ema(net(0.0), EmaConfig(half_life=1000, rampup=0.1))
    ema.update(net(1.0), images=500, batch=50)  # 0.1 x 500 = 50: one half-life
    assert ema.module[0].weight[0, 0].item() == pytest.approx(0.5)


def test_running_statistics_are_averaged_and_counters_copied() -> None:
    ema, learning = Ema(net(0.0), EmaConfig(half_life=100, rampup=1)), net(1.0)
    learning[1].num_batches_tracked.fill_(7)
    ema.update(learning, images=1000, batch=100)
    assert ema.module[1].running_var[0].item() == pytest.approx(0.5)
    assert ema.module[1].num_batches_tracked == 7


def test_the_average_of_what_a_spectral_norm_holds_is_held_too() -> None:
    """Of averaged singular vectors, which are shorter than one, the weight would come out 3 % too large."""
    torch.manual_seed(0)
    learning = nn.Sequential(spectral_norm(nn.Linear(64, 64)))
    ema = Ema(learning, EmaConfig(half_life=1000, rampup=1))
    for step in range(300):
        with torch.no_grad():
            learning[0].parametrizations.weight.original.add_(torch.randn(64, 64), alpha=0.006)
        learning(torch.randn(1, 64))  # a power iteration
        ema.update(learning, images=1_000_000 + 100 * step, batch=100)
    largest = torch.linalg.svdvals(ema.module[0].weight)[0].item()
    assert largest == pytest.approx(1, abs=0.01)


def test_the_average_is_for_sampling_only() -> None:
    learning = net(1.0)
    ema = Ema(learning, EmaConfig())
    assert not ema.module.training
    assert not any(parameter.requires_grad for parameter in ema.module.parameters())
    assert learning.training
