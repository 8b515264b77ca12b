"""The interface between the gateway and whatever runs the models, and the ways in which that can fail."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gantry.v1 import generation_pb2, models_pb2, worker_pb2
from services.backends.envelope import Envelope
from services.worker.decoding import LEAST_SIDE
from services.worker.imaging import encode
from services.worker.inputs import PICTURE, neutral_condition, takes, ways_of

# A probe that takes longer than this has failed: it waits for an envelope that runs already at most.
PROBE_SECONDS = 30.0


class ModelKey(NamedTuple):
    """Names one loaded model."""

    name: str
    version: str


class BackendError(Exception):
    """An envelope that did not come back."""


class BackendUnavailableError(BackendError):
    """The backend or its worker is down; the same envelope may succeed later."""

    def __init__(self, message: str, retry_seconds: float | None = None) -> None:
        super().__init__(message)
        if retry_seconds is not None:
            self.retry_seconds = retry_seconds


class BackendFailedError(BackendError):
    """The worker could not run the envelope; it would fail again."""


class WorkerLostError(BackendError):
    """The worker crashed, or was stopped, while it ran the envelope.

    Attributes:
        is_to_blame: Whether the envelope may be the reason.
    """

    def __init__(self, message: str, *, is_to_blame: bool = True) -> None:
        super().__init__(message)
        self.is_to_blame = is_to_blame


def _ignore(reason: str) -> None:
    """Take no note."""


class Backend(ABC):
    """Runs envelopes on the models it has loaded.

    Attributes:
        on_change: Called whenever `models` or `refused` have changed, or models went down or came back.
        on_worker_lost: Called with one word that says why a worker of the gateway's own was lost.
    """

    name: str
    on_change: Callable[[], None] = staticmethod(lambda: None)
    on_worker_lost: Callable[[str], None] = staticmethod(_ignore)

    @property
    @abstractmethod
    def models(self) -> Mapping[ModelKey, models_pb2.LoadedModel]:
        """The models that are loaded; a mapping that was read stays as it is."""

    @property
    @abstractmethod
    def refused(self) -> Sequence[models_pb2.RefusedArchive]:
        """The archives that were refused, and why."""

    @property
    def workers(self) -> int | None:
        """The most envelopes of all models that run at once; None where every model has workers of its own."""
        return None

    @abstractmethod
    def slots(self, key: ModelKey) -> int:
        """Return the most envelopes of a model that run at once.

        Args:
            key: A key of `models`.
        """

    @abstractmethod
    def check(self, key: ModelKey) -> None:
        """Refuse work that would not be run now.

        Args:
            key: A key of `models`.

        Raises:
            BackendUnavailableError: The model is down for a while.
        """

    @abstractmethod
    async def start(self) -> None:
        """Load the models.

        Raises:
            BackendUnavailableError: Nothing can be served at all.
        """

    async def keep(self) -> None:
        """Keep the models running, and follow what becomes of them, for as long as it is awaited.

        Raises:
            BackendUnavailableError: The backend has ended, and starting it again does not help.
        """
        await asyncio.Event().wait()

    @abstractmethod
    async def run(self, key: ModelKey, envelope: Envelope) -> worker_pb2.WorkReply:
        """Run one envelope; it ends once the worker has answered, or is stopped for certain.

        Args:
            key: A key of `models`.
            envelope: The envelope.

        Returns:
            One result per item, in order.

        Raises:
            BackendUnavailableError: It was not run.
            BackendFailedError: The worker failed on it.
            WorkerLostError: The worker was lost with it.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Release everything that `start` took."""


async def try_out(
    card: models_pb2.ModelCard,
    run: Callable[[Envelope], Awaitable[worker_pb2.WorkReply]],
) -> None:
    """Make one picture, or raise the BackendError that says why there is none.

    Args:
        card: The model's card.
        run: Runs an envelope.
    """
    reply = await run(Envelope(worker_pb2.WorkRequest(items=[probe_item(card)]), PROBE_SECONDS))
    if [result.WhichOneof("outcome") for result in reply.results] != ["image"]:
        raise BackendFailedError("the probe brought no picture back")


def probe_item(card: models_pb2.ModelCard, side: int = LEAST_SIDE) -> worker_pb2.WorkItem:
    """Return the least work that a model can be asked for.

    Args:
        card: The model's card.
        side: Height and width of the picture that it is given, where it takes one.
    """
    if takes(card, PICTURE):
        grey = encode(np.full((side, side, 3), 128, np.uint8), generation_pb2.IMAGE_FORMAT_PNG, 0, {})
        pixels = side * side
        work = worker_pb2.TranslateWork(
            image=grey.data,
            direction=next(iter(ways_of(card))),
            max_pixels=pixels,
            pixels=pixels,
            graph_pixels=pixels,
        )
        return worker_pb2.WorkItem(translate=work, format=generation_pb2.IMAGE_FORMAT_RAW)
    generate = worker_pb2.GenerateWork(seed=0, condition=neutral_condition(card), truncation=1.0)
    return worker_pb2.WorkItem(generate=generate, format=generation_pb2.IMAGE_FORMAT_RAW)
