"""The terms in which a training step is described, so that one loop trains every family."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from PIL import Image
from torch import Tensor, nn
from torch.optim import Optimizer


class Stateful(Protocol):
    """Whatever can hand out and take back its state; nets and optimizers do."""

    def state_dict(self) -> dict[str, Any]:
        """The state: tensors, numbers, texts, and lists and dicts of them."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Takes back what `state_dict` gave."""
        ...


class Loss(NamedTuple):
    """What a phase's loss function gives.

    Attributes:
        value: What to minimise, a float32 scalar.
        statistics: Further float32 scalars by name, to be reported.
        outputs: Images that later phases of the same step may use; see `Batches`.
    """

    value: Tensor
    statistics: dict[str, Tensor]
    outputs: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Phase:
    """One optimizer's part of a step.

    Attributes:
        name: The loss is reported as "<name>/loss".
        module: The only net that learns in this phase; several phases may have the same.
        optimizer: Holds that net's parameters.
        loss: Gives the loss of the batch that is yielded for this phase. It is pure but for the nets' own buffers, so
            that torch.compile may take it whole. What it draws from torch's global source follows from the run's
            seed and the step.
        repeats: How often it runs in a step, at least 1; each time it is given another batch.
        every: It runs in the steps whose number is divisible by this.
        after: Called with the module when it has learnt, without gradients; to clip its weights, for example.
    """

    name: str
    module: nn.Module
    optimizer: Optimizer
    loss: Callable[[Any], Loss]
    repeats: int = 1
    every: int = 1
    after: Callable[[nn.Module], None] | None = None


Batches = Callable[[int], Generator[Any, tuple[Tensor, ...] | None, None]]
"""From a step's number, counted from 0, to a generator that yields a batch for each run of a phase in turn, and is sent
the outputs of that run (at its start None, as Python asks). Phases that the step leaves out take no batch."""


@dataclass(frozen=True)
class Model:
    """A family's nets and its step.

    Attributes:
        generator: The net whose moving average is kept.
        phases: What a step does, in order.
        batches: What the phases are given.
        sample_grid: Draws what a tick shows of an averaged generator.
        extra_state: What must survive a stop besides nets and optimizers, by name.
        averaged: Nets besides the generator whose moving averages are kept, by name.
    """

    generator: nn.Module
    phases: list[Phase]
    batches: Batches
    sample_grid: Callable[[Any], Image.Image]
    extra_state: Mapping[str, Stateful] = field(default_factory=dict)
    averaged: Mapping[str, nn.Module] = field(default_factory=dict)
