"""How nets get onto the device and into their optimizers."""

from typing import TypeVar, cast

import torch
from torch import nn
from torch.optim import Adam, Optimizer, RMSprop

from training.config import OptimizerConfig

_Net = TypeVar("_Net", bound=nn.Module)


def to_device(net: _Net, device: torch.device) -> _Net:
    """Moves a net to the device, in the memory format that convolutions in bfloat16 are fastest in.

    Args:
        net: Any net.
        device: Where it is to live.

    Returns:
        The same net.
    """
    return cast(_Net, net.to(device).to(memory_format=torch.channels_last))  # type: ignore[call-overload]


def optimizer_of(net: nn.Module, learning_rate: float, config: OptimizerConfig) -> Optimizer:
    """The optimizer of a net's parameters.

    Args:
        net: The net that is to learn.
        learning_rate: At the beginning.
        config: Which it is, and the decays.

    Returns:
        The optimizer; Adam in one kernel for all parameters.
    """
    if config.kind == "rmsprop":
        return RMSprop(net.parameters(), lr=learning_rate, alpha=config.beta2)
    return Adam(net.parameters(), lr=learning_rate, betas=(config.beta1, config.beta2), fused=True)
