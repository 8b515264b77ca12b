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
        made: Images that later phases of the same step may use; see `Feed`.
    """

    value: Tensor
    statistics: dict[str, Tensor]
    made: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Phase:
    """One optimizer's part of a step.

    Attributes:
        name: The loss is reported as "<name>/loss".
        module: The only net that learns in this phase.
        optimizer: Holds that net's parameters.
        loss: Gives the loss of the batch that the feed yields for this phase. It is pure but for the nets' own buffers,
            so that torch.compile may take it whole.
    """

    name: str
    module: nn.Module
    optimizer: Optimizer
    loss: Callable[[Any], Loss]


Feed = Callable[[int], Generator[Any, tuple[Tensor, ...] | None, None]]
"""From a step's number, counted from 0, to a generator that yields the batch of each phase in turn, and is sent what
that phase made (at its start None, as Python asks)."""


@dataclass(frozen=True)
class Model:
    """A family's nets and its step.

    Attributes:
        generator: The net whose moving average is kept.
        phases: What a step does, in order.
        feed: What the phases are given.
        view: Draws what a tick shows of an averaged generator.
        memory: What must survive a stop besides nets and optimizers, by name.
    """

    generator: nn.Module
    phases: list[Phase]
    feed: Feed
    view: Callable[[Any], Image.Image]
    memory: Mapping[str, Stateful] = field(default_factory=dict)
