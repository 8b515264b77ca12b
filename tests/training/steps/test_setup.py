"""How nets get onto a device and into their optimizers."""

import torch
from torch import nn

from training.config import OptimizerConfig
from training.steps.setup import optimizer_of, to_device


def test_a_moved_net_is_itself_with_its_convolutions_in_channels_last() -> None:
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Linear(5, 2))
    weights = net[0].weight.clone()
    assert to_device(net, torch.device("cpu")) is net
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(net[0].weight, weights)


def test_adam_has_the_nets_parameters_and_the_settings() -> None:
    net = nn.Linear(3, 2)
    optimizer = optimizer_of(net, 0.01, OptimizerConfig(beta1=0.3, beta2=0.7))
    (group,) = optimizer.param_groups
    assert group["params"] == [net.weight, net.bias]
    assert (group["lr"], group["betas"]) == (0.01, (0.3, 0.7))


def test_rmsprop_has_the_decay_of_squared_gradients() -> None:
    net = nn.Linear(3, 2)
    optimizer = optimizer_of(net, 5e-5, OptimizerConfig(kind="rmsprop", beta2=0.99))
    (group,) = optimizer.param_groups
    assert isinstance(optimizer, torch.optim.RMSprop)
    assert (group["lr"], group["alpha"], group["momentum"]) == (5e-5, 0.99, 0)
