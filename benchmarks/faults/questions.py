"""Calls whose answers are known beforehand, and what became of each."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import Message

from benchmarks.faults.callers import CLASSES, generation, noise
from benchmarks.faults.case import Finding, at_most
from gantry.v1 import generation_pb2
from services.client.errors import GantryError, read_error, read_item_error

Answer = tuple[bytes, ...]
"""All messages that answer a call, whole."""
Ask = Callable[[grpc.aio.Channel, float], Awaitable[Answer]]
"""Makes a call with a deadline in seconds; returns its answer, or raises `grpc.aio.AioRpcError`."""

_CONTRACT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
_ALONE_SECONDS = 60.0
_LEAST_PAUSE_SECONDS = 0.1
_STREAMED = 4


class ItemError(Exception):
    """A picture of a stream came back as an error."""

    def __init__(self, item: generation_pb2.ItemError) -> None:
        super().__init__(item.message)
        self.item = item


@dataclass(frozen=True)
class Question:
    """A call that always brings the same answer.

    Attributes:
        kind: What kind of call it is, in words.
        items: How many pictures it makes.
        ask: Makes it.
    """

    kind: str
    items: int
    ask: Ask


def sample(model: str, seed: int, count: int = 1) -> Question:
    """Sample some pictures of a class."""
    asked = generation_pb2.SampleRequest(model=model, label_ids=[seed % CLASSES], count=count, seed=seed)

    async def ask(channel: grpc.aio.Channel, seconds: float) -> Answer:
        return (_flat(await generation(channel).Sample(asked, timeout=seconds)),)

    return Question(f"Sample {count}", count, ask)


def sample_stream(model: str, seed: int, count: int) -> Question:
    """Sample some pictures as a stream."""
    sampled = generation_pb2.SampleRequest(model=model, label_ids=[seed % CLASSES], count=count, seed=seed)
    asked = generation_pb2.SampleStreamRequest(sample=sampled)

    async def ask(channel: grpc.aio.Channel, seconds: float) -> Answer:
        return tuple([_flat(one) async for one in generation(channel).SampleStream(asked, timeout=seconds)])

    return Question(f"SampleStream {count}", count, ask)


def traverse(model: str, seed: int, steps: int) -> Question:
    """Walk from one latent to another."""
    way = generation_pb2.Interpolation(from_seed=seed, to_seed=seed + 1, steps=steps)
    asked = generation_pb2.TraverseRequest(model=model, interpolation=way)

    async def ask(channel: grpc.aio.Channel, seconds: float) -> Answer:
        return tuple([_flat(one) async for one in generation(channel).Traverse(asked, timeout=seconds)])

    return Question(f"Traverse {steps}", steps, ask)


def translate(model: str, seed: int, side: int) -> Question:
    """Translate a picture of noise."""
    asked = _translation(model, seed, side)

    async def ask(channel: grpc.aio.Channel, seconds: float) -> Answer:
        return (_flat(await generation(channel).Translate(asked, timeout=seconds)),)

    return Question(f"Translate {side}×{side}", 1, ask)


def translate_stream(model: str, seed: int, side: int) -> Question:
    """Translate some pictures of noise as a stream."""
    asked = [
        generation_pb2.TranslateStreamRequest(id=str(number), translate=_translation(model, seed + number, side))
        for number in range(_STREAMED)
    ]

    async def ask(channel: grpc.aio.Channel, seconds: float) -> Answer:
        answers = []
        async for one in generation(channel).TranslateStream(iter(asked), timeout=seconds):
            if one.HasField("error"):
                raise ItemError(one.error)
            answers.append(_flat(one))
        # They come in any order.
        return tuple(sorted(answers))

    return Question(f"TranslateStream {_STREAMED} of {side}×{side}", _STREAMED, ask)


def _translation(model: str, seed: int, side: int) -> generation_pb2.TranslateRequest:
    direction = generation_pb2.DIRECTION_A_TO_B
    return generation_pb2.TranslateRequest(model=model, direction=direction, image=noise(side, seed=seed))


def _flat(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


@dataclass
class Tally:
    """What became of calls; each has one end.

    Attributes:
        right: What each question brings alone.
        answered: Calls that brought just that, byte for byte.
        items: Their pictures.
        refused: Calls that were refused by contract, by reason: with the gateway's ErrorInfo, or at their deadline.
        wrong: Calls that brought another answer.
        lost: All other ends.
    """

    right: dict[Question, Answer] = field(default_factory=dict)
    answered: int = 0
    items: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    lost: Counter[str] = field(default_factory=Counter)

    @property
    def calls(self) -> int:
        """All calls that have ended."""
        return self.answered + self.refused.total() + self.wrong + self.lost.total()

    def findings(self) -> list[Finding]:
        """Say how many calls had an end that none may have."""
        what, lost = "calls that ended otherwise", ", ".join(f"{count} × {why}" for why, count in self.lost.items())
        return [
            Finding(what, lost or "0", "0", met=not lost),
            at_most("answers that are not, byte for byte, those of the same call alone", self.wrong, 0),
        ]

    async def learn(self, channel: grpc.aio.Channel, questions: Sequence[Question]) -> None:
        """Note what each question brings alone."""
        for question in questions:
            self.right[question] = await question.ask(channel, _ALONE_SECONDS)

    async def ask(self, channel: grpc.aio.Channel, question: Question, seconds: float) -> float:
        """Ask a question and note what became of it; returns the seconds to wait before the next."""
        try:
            answer = await question.ask(channel, seconds)
        except grpc.aio.AioRpcError as error:
            return self.note(read_error(error), error.code())
        except ItemError as error:
            read = read_item_error(error.item)
            return self.note(read, read.code)
        if answer == self.right[question]:
            self.answered += 1
            self.items += question.items
        else:
            self.wrong += 1
        return 0.0

    def note(self, error: GantryError, code: grpc.StatusCode) -> float:
        """Note the end of a call that brought no pictures, and gRPC's own code; returns the seconds to wait."""
        # At a deadline the client may be the first to say so, and knows no reason.
        if error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            self.refused[error.reason or "deadline"] += 1
        elif error.code in _CONTRACT and error.reason is not None:
            self.refused[error.reason] += 1
        else:
            self.lost[f"{code.name}: {error.message}"] += 1
        return max(error.retry_seconds or 0.0, _LEAST_PAUSE_SECONDS)


async def keep_asking(
    channel: grpc.aio.Channel,
    questions: Sequence[Question],
    tally: Tally,
    seconds: float,
    until: asyncio.Event,
    *,
    seed: int,
    pause: float = 0.0,
) -> None:
    """Ask one question after the other, drawn at random, until an event; refusals are waited out as they say.

    Args:
        channel: The connection.
        questions: What is asked.
        tally: Where ends are noted.
        seconds: The deadline of each.
        until: The event.
        seed: Of the draws.
        pause: Seconds between an answer and the next call.
    """
    rng = random.Random(seed)
    while not until.is_set():
        refused = await tally.ask(channel, rng.choice(questions), seconds)
        await asyncio.sleep(refused or pause)
