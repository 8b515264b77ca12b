"""The interface between the gateway and whatever runs the models, and the ways in which that can fail."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gantry.v1 import generation_pb2, models_pb2, worker_pb2


class ModelKey(NamedTuple):
    """Names one loaded model."""

    name: str
    version: str


class BackendError(Exception):
    """An envelope that did not come back."""


class BackendUnavailableError(BackendError):
    """The backend or its worker is down; the same envelope may succeed later."""


class BackendFailedError(BackendError):
    """The worker could not run the envelope; it would fail again."""


class BackendTimeoutError(BackendError):
    """The envelope did not come back in its time."""


class Backend(ABC):
    """Runs envelopes on the models it has loaded."""

    name: str
    # The most envelopes of one model that it is best given at once: one that runs and one on its way.
    envelopes_in_flight: int = 2

    @property
    @abstractmethod
    def models(self) -> Mapping[ModelKey, models_pb2.LoadedModel]:
        """The models that are loaded."""

    @property
    @abstractmethod
    def refused(self) -> Sequence[models_pb2.RefusedArchive]:
        """The archives that were refused, and why."""

    @abstractmethod
    async def start(self) -> None:
        """Load the models.

        Raises:
            BackendUnavailableError: Nothing can be served at all.
        """

    @abstractmethod
    async def run(self, key: ModelKey, request: worker_pb2.WorkRequest, timeout: float | None) -> worker_pb2.WorkReply:
        """Run one envelope.

        Args:
            key: A key of `models`.
            request: The envelope.
            timeout: Seconds after which nobody waits any more; None for no limit.

        Returns:
            One result per item, in order.

        Raises:
            BackendError: The envelope did not come back.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Release everything that `start` took."""

    async def probe(self, key: ModelKey) -> None:
        """Make one picture, the only proof that a model works.

        Args:
            key: A key of `models`.

        Raises:
            BackendError: The model does not work.
        """
        item = worker_pb2.WorkItem(truncation=1.0, format=generation_pb2.IMAGE_FORMAT_RAW)
        reply = await self.run(key, worker_pb2.WorkRequest(items=[item]), timeout=PROBE_SECONDS)
        if len(reply.results) != 1 or reply.results[0].error:
            raise BackendFailedError("the probe brought no picture back")


# A probe that takes longer than this has failed.
PROBE_SECONDS = 30.0
