"""The terms in which a training step is described, so that one loop trains every family."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer


@dataclass(frozen=True)
class Batch:
    """What a phase is given.

    Attributes:
        images: float32 [B, C, H, W] in [-1, 1], real.
        labels: int64 [B], theirs.
        latents: float32 [B, latent size], standard normal, drawn anew for each phase.
    """

    images: Tensor
    labels: Tensor
    latents: Tensor


@dataclass(frozen=True)
class Phase:
    """One optimizer's part of a step.

    Attributes:
        name: The loss is reported as "<name>/loss".
        module: The only net that learns in this phase.
        optimizer: Holds that net's parameters.
        loss: Gives the loss to minimise and further statistics, each a float32 scalar by name. It is pure but for the
            nets' own buffers, so that torch.compile may take it whole.
        every: The phase runs in steps divisible by this.
    """

    name: str
    module: nn.Module
    optimizer: Optimizer
    loss: Callable[[Batch], tuple[Tensor, dict[str, Tensor]]]
    every: int = 1


@dataclass(frozen=True)
class Model:
    """A family's nets and its step.

    Attributes:
        generator: The net whose moving average is kept.
        phases: What a step does, in order.
    """

    generator: nn.Module
    phases: list[Phase]
