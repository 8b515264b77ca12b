"""Every kind of net as narrow as it goes, whatever stands in the unions."""

from typing import Any, get_args

import torch
from torch import nn

from training.nets import AnyDiscriminator, AnyGenerator
from training.nets.discriminator import Discriminator, DiscriminatorConfig
from training.nets.generator import GeneratorConfig

NARROW = {"width": 4, "max_width": 8, "hidden": (16, 12), "blocks": 1}
CONDITIONS = torch.eye(3)  # of three classes


def _by_kind(union: Any) -> dict[str, Any]:
    """The types of a union by the kind that tells them apart."""
    types = get_args(get_args(union)[0])
    return {each.model_fields["kind"].default: each for each in types}


GENERATORS: dict[str, type[GeneratorConfig]] = _by_kind(AnyGenerator)
DISCRIMINATORS: dict[str, type[DiscriminatorConfig]] = _by_kind(AnyDiscriminator)


def config_of(of_type: type[Any], **changes: Any) -> Any:
    """A configuration of this type, narrow but for the changes."""
    return of_type(**{name: value for name, value in NARROW.items() if name in of_type.model_fields} | changes)


def make_generator(kind: str, size: int = 16, channels: int = 1, condition_size: int = 3, **changes: Any) -> nn.Module:
    """A generator of 8 numbers, always with the same first weights, in evaluation."""
    torch.manual_seed(0)
    config = config_of(GENERATORS[kind], **changes)
    return config.build(latent_size=8, condition_size=condition_size, channels=channels, size=size).eval()


def make_discriminator(kind: str, size: int = 16, channels: int = 1, **changes: Any) -> Discriminator:
    """A discriminator that takes conditions of 3 numbers if it takes any, with a head."""
    torch.manual_seed(0)
    config = config_of(DISCRIMINATORS[kind], **changes)
    return config.build(
        condition_size=3, channels=channels, size=size, heads=lambda features: {"head": nn.Linear(features, 3)}
    )


def wake(net: nn.Module) -> nn.Module:
    """The net, with numbers where its weights begin at 0: what is multiplied by them would not learn at first."""
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return net


def held_weights(net: nn.Module) -> dict[str, tuple[torch.Tensor, int]]:
    """Of all layers under a spectral norm the weight, and which of its axes are rows."""
    return {
        name: (module.weight.detach(), 1 if isinstance(module, nn.ConvTranspose2d) else 0)
        for name, module in net.named_modules()
        if hasattr(module, "parametrizations")
    }


def largest_singular_values(net: nn.Module) -> dict[str, float]:
    """Of all weights under a spectral norm."""
    return {
        name: torch.linalg.matrix_norm(weight.movedim(rows, 0).flatten(1), 2).item()
        for name, (weight, rows) in held_weights(net).items()
    }
