"""What the gateway's tests drive by hand: a clock, and a backend whose envelopes come back when the test says so."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gantry.v1 import generation_pb2, models_pb2, worker_pb2
from services.backends.base import Backend, BackendUnavailableError, ModelKey
from services.backends.envelope import Envelope

EXECUTION = "cpu-float32-eager"
# Far longer than anything takes, for a busy machine.
PATIENCE_SECONDS = 60.0


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def reply_to(request: worker_pb2.WorkRequest, picture_bytes: int = 1) -> worker_pb2.WorkReply:
    """Answer each item with one grey pixel, darker or lighter by its seed; 0 for a translation. Or with more bytes."""
    results = [
        worker_pb2.WorkResult(
            image=generation_pb2.EncodedImage(
                data=bytes([item.generate.seed % 256]) * picture_bytes,
                width=1,
                height=1,
                channels=1,
                format=item.format,
            )
        )
        for item in request.items
    ]
    return worker_pb2.WorkReply(results=results, encode_seconds=0.25, execution=EXECUTION)


@dataclass
class Away:
    """An envelope that is with the backend."""

    key: ModelKey
    request: worker_pb2.WorkRequest
    timeout: float | None
    abandoned: set[int] = field(default_factory=set)
    encode_seconds: float = 0.25
    outcome: asyncio.Future[worker_pb2.WorkReply] = field(default_factory=asyncio.Future)

    @property
    def seeds(self) -> list[int]:
        """Seeds of its items."""
        return [item.generate.seed for item in self.request.items]

    def come_back(self, chunk_items: int = 0) -> None:
        """Answer as a sound worker does, who may say how many items its graph takes at once."""
        reply = reply_to(self.request)
        reply.encode_seconds, reply.chunk_items = self.encode_seconds, chunk_items
        self.outcome.set_result(reply)


class DrivenBackend(Backend):
    """Keeps every envelope until the test ends it; or answers at once."""

    name = "driven"

    def __init__(
        self,
        *cards: models_pb2.ModelCard,
        answers_at_once: bool = False,
        answers_probes: bool = True,
        slots: int = 2,
        workers: int | None = None,
        encode_seconds: float = 0.25,
    ) -> None:
        self._models: Mapping[ModelKey, models_pb2.LoadedModel] = {}
        self.replace(*cards)
        self.answers_at_once, self._answers_probes = answers_at_once, answers_probes
        self._slots, self._workers, self._encode_seconds = slots, workers, encode_seconds
        self.probe_fault: Exception | None = None
        self.check_fault: BackendUnavailableError | None = None
        self.picture_bytes = 1
        self.refused_archives: list[models_pb2.RefusedArchive] = []
        self.away: asyncio.Queue[Away] = asyncio.Queue()
        self.envelopes: list[Away] = []
        self.is_running = False
        self.lost: asyncio.Future[None] | None = None

    @property
    def models(self) -> Mapping[ModelKey, models_pb2.LoadedModel]:
        """The models it was given last."""
        return self._models

    def replace(
        self, *cards: models_pb2.ModelCard, digest: str = "d" * 64
    ) -> Mapping[ModelKey, models_pb2.LoadedModel]:
        """Have other models from now on; returns those it had."""
        before = self._models
        self._models = {
            ModelKey(card.name, card.version): models_pb2.LoadedModel(card=card, digest=digest) for card in cards
        }
        return before

    @property
    def refused(self) -> Sequence[models_pb2.RefusedArchive]:
        """What the test says."""
        return self.refused_archives

    @property
    def workers(self) -> int | None:
        """What the test says."""
        return self._workers

    def slots(self, key: ModelKey) -> int:
        """What the test says."""
        return self._slots

    def check(self, key: ModelKey) -> None:
        """Do what the test says."""
        if self.check_fault:
            raise self.check_fault

    async def start(self) -> None:
        """Note it."""
        self.is_running = True
        self.lost = asyncio.get_running_loop().create_future()

    async def keep(self) -> None:
        """Keep on until the test says what went wrong."""
        assert self.lost
        await self.lost

    async def stop(self) -> None:
        """Note it."""
        self.is_running = False

    async def run(self, key: ModelKey, envelope: Envelope) -> worker_pb2.WorkReply:
        """Keep the envelope until the test ends it."""
        # Whoever calls has a deadline, if only the default one.
        if self._answers_probes and envelope.seconds_wanted is None:
            return reply_to(envelope.request)
        away = Away(key, envelope.request, envelope.seconds_wanted, envelope.abandoned, self._encode_seconds)
        self.envelopes.append(away)
        if self.answers_at_once:
            return reply_to(envelope.request, self.picture_bytes)
        self.away.put_nowait(away)
        return await away.outcome

    async def probe(self, key: ModelKey) -> None:
        """Do what the test says."""
        if self.probe_fault:
            raise self.probe_fault


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in the gateway, soon, though no answer tells of it."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < give_up, f"it did not happen within {PATIENCE_SECONDS:.0f} s"
        await asyncio.sleep(0.001)


async def settled() -> None:
    """Let every task run until all wait for something."""
    for _ in range(60):
        await asyncio.sleep(0)
