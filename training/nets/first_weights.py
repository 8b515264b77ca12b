"""The weights that a net begins with."""

from typing import Literal, TypeVar

import torch
from torch import nn
from torch.nn.utils import parametrize

from training.nets.batch_norm import BatchNorm1d, BatchNorm2d

Init = Literal["torch", "normal", "orthogonal"]
_Net = TypeVar("_Net", bound=nn.Module)

_STD = 0.02  # of DCGAN's first weights


def drawn(net: _Net, init: Init) -> _Net:
    """Draws a net's weights anew, heads too, where the configuration says so.

    Args:
        net: Any net.
        init: "torch" leaves it as torch made it; "normal" is DCGAN's, of standard deviation 0.02 (Radford et al., 2015,
            arXiv:1511.06434, section 4); "orthogonal" is BigGAN's (Saxe et al., 2013, arXiv:1312.6120).

    Returns:
        The same net.
    """
    for module in net.modules() if init != "torch" else ():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            _draw_weight(module, init)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif init == "normal" and isinstance(module, BatchNorm1d | BatchNorm2d) and module.affine:
            nn.init.normal_(module.weight, mean=1, std=_STD)
    return net


@torch.no_grad()
def _draw_weight(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, init: Init) -> None:
    weight = torch.empty_like(layer.weight)
    if init == "normal":
        nn.init.normal_(weight, std=_STD)
    else:
        nn.init.orthogonal_(weight)
    if parametrize.is_parametrized(layer, "weight"):
        layer.weight = weight  # of what is held, the weight behind it
    else:
        layer.weight.copy_(weight)
