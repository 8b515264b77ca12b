"""TranslateStream: reads pictures while there is room, makes them side by side, and sends answers one after another.

Nothing is read while as many pictures as the stream may hold are under way: made, or made and not yet sent. Pictures
that are not yet complete never hold up reading, since only reading can complete them. Where the process has no memory
left for what was read, reading waits; when the wait grows long, the picture that it was for is refused.

A gateway that stops takes no further pictures, answers those that are complete, and ends the stream with an error that
says when to retry: the caller sends what is unanswered in another stream.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

from gantry.v1 import generation_pb2
from services.gateway.budget import PICTURE_COPIES, Budget, Hold, current_hold
from services.gateway.errors import (
    BudgetError,
    InvalidRequestError,
    ShuttingDownError,
    StreamIdleError,
    Violation,
    status_of,
)
from services.gateway.interceptors.drain import Moment
from services.gateway.planning.output import Limits
from services.gateway.servicers.uploads import StreamLimits, Uploads, check_id
from services.waiting import is_done_within
from services.worker.decoding import ImageTooLargeError

# Of the messages of an answer: well below the 4 MiB that gRPC clients accept unless told otherwise.
CHUNK_BYTES = 1 << 20

Response = generation_pb2.TranslateStreamResponse


@dataclass(frozen=True)
class _Answer:
    """What one picture comes to.

    Attributes:
        picture: The caller's id.
        outcome: The answer, or what went wrong.
        is_made: Whether it answers a complete picture; else a message that did not belong where it stood.
    """

    picture: str
    outcome: generation_pb2.TranslateResponse | Exception
    is_made: bool


class TranslateStream:
    """One call of TranslateStream."""

    def __init__(
        self,
        translate: Callable[[generation_pb2.TranslateRequest], Awaitable[generation_pb2.TranslateResponse]],
        budget: Budget | None,
        limits: StreamLimits,
        picture_limits: Limits,
        stopping: Moment,
        chunk_bytes: int = CHUNK_BYTES,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Begin with nothing; needs a running event loop.

        Args:
            translate: Makes one picture, or raises a domain error; cancelled when nobody awaits it any more.
            budget: What pictures are paid from; None where memory is not counted.
            limits: What the stream may hold.
            picture_limits: What one picture may have.
            stopping: When to take no further pictures.
            chunk_bytes: The most bytes of pictures in one message of an answer.
            pause: Lets a number of seconds pass.
        """
        self._budget, self._pause = budget, pause
        # What each picture that is not answered has of the budget; that of the call itself pays for the next message.
        self._holds: dict[str, Hold] = {}
        self._call_hold = current_hold()
        self._translate, self._limits, self._stopping, self._chunk_bytes = translate, limits, stopping, chunk_bytes
        self._unanswered: set[str] = set()
        self._uploads = Uploads(limits, picture_limits, self._unanswered)
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: asyncio.Queue[_Answer | None] = asyncio.Queue()
        # Answers that are to come or not yet sent, and the bytes of pictures that are being made.
        self._under_way = 0
        self._bytes = 0
        self._has_sent = asyncio.Event()

    async def run(
        self, requests: AsyncIterator[generation_pb2.TranslateStreamRequest]
    ) -> AsyncGenerator[Response, None]:
        """Answer a stream.

        Args:
            requests: What the caller sends.

        Yields:
            The messages of the answers.

        Raises:
            InvalidRequestError: A message has no id that an answer could carry.
            ShuttingDownError: The gateway stops; what is not answered was not made.
            StreamIdleError: Nothing comes, and nothing is under way.
        """
        reader = asyncio.create_task(self._read(requests))
        try:
            while answer := await self._answers.get():
                for message in split_answer(answer.picture, answer.outcome, self._chunk_bytes):
                    if not message.more:
                        # Before it is sent: from then on the caller may use the id again.
                        self._settle(answer)
                    yield message
            await reader
        finally:
            for task in (reader, *self._tasks):
                task.cancel()
            await asyncio.gather(reader, *self._tasks, return_exceptions=True)
            for picture in list(self._holds):
                self._release(picture)

    async def _read(self, requests: AsyncIterator[generation_pb2.TranslateStreamRequest]) -> None:
        try:
            async with self._stopping.ends():
                await self._take_all(requests)
            await asyncio.gather(*self._tasks)
        except ShuttingDownError:
            await asyncio.gather(*self._tasks)
            raise
        finally:
            self._answers.put_nowait(None)

    async def _take_all(self, requests: AsyncIterator[generation_pb2.TranslateStreamRequest]) -> None:
        while message := await self._next(requests):
            check_id(message.id)
            size = len(message.chunk) + len(message.translate.image)
            await self._wait_for_room(size)
            try:
                await self._pay(message, size)
            except BudgetError as error:
                self._uploads.refuse(message)
                self._refuse(message.id, error)
            else:
                self._take(message)
        for picture in self._uploads.unfinished:
            await self._wait_for_room(0)
            fault = Violation("more", "the stream ended before the picture was complete")
            self._refuse(picture, InvalidRequestError(fault))

    async def _next(
        self, requests: AsyncIterator[generation_pb2.TranslateStreamRequest]
    ) -> generation_pb2.TranslateStreamRequest | None:
        """Read a message; None at the end."""
        reading = asyncio.ensure_future(anext(requests, None))
        try:
            while not await is_done_within(reading, self._limits.idle_seconds, self._pause):
                if not self._under_way:
                    raise StreamIdleError(f"no message has come for {self._limits.idle_seconds:g} s")
            return await reading
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    async def _pay(self, message: generation_pb2.TranslateStreamRequest, size: int) -> None:
        """Pay for a message that was read, and for the next, which is likely to have as many bytes."""
        if self._uploads.ignores(message) or message.id in self._unanswered:
            return
        await self._call_hold.resize(max(self._call_hold.bytes, size))
        hold = self._holds.setdefault(message.id, Hold(self._budget, pictures=True))
        await hold.grow(PICTURE_COPIES * size)

    def _release(self, picture: str) -> None:
        if hold := self._holds.pop(picture, None):
            hold.shrink(hold.bytes)

    async def _wait_for_room(self, size: int) -> None:
        while self._under_way and (
            self._under_way >= self._limits.pictures or self._bytes + self._uploads.bytes + size > self._limits.bytes
        ):
            self._has_sent.clear()
            await self._has_sent.wait()

    def _take(self, message: generation_pb2.TranslateStreamRequest) -> None:
        try:
            request = self._uploads.add(message)
        except (InvalidRequestError, ImageTooLargeError) as error:
            self._refuse(message.id, error)
            return
        if request is not None:
            self._under_way += 1
            size = len(request.image)
            self._bytes += size
            self._unanswered.add(message.id)
            task = asyncio.create_task(self._make(message.id, request, size))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _refuse(self, picture: str, error: Exception) -> None:
        self._under_way += 1
        if picture not in self._unanswered:
            self._release(picture)
        self._answers.put_nowait(_Answer(picture, error, is_made=False))

    async def _make(self, picture: str, request: generation_pb2.TranslateRequest, size: int) -> None:
        outcome: generation_pb2.TranslateResponse | Exception
        self._holds[picture].use()
        try:
            outcome = await self._translate(request)
        except Exception as error:
            outcome = error
        finally:
            self._bytes -= size
        self._answers.put_nowait(_Answer(picture, outcome, is_made=True))

    def _settle(self, answer: _Answer) -> None:
        self._under_way -= 1
        if answer.is_made:
            self._unanswered.discard(answer.picture)
            self._release(answer.picture)
        self._has_sent.set()


def split_answer(
    picture: str, outcome: generation_pb2.TranslateResponse | Exception, chunk_bytes: int
) -> Iterator[Response]:
    """Cut an answer into messages.

    Args:
        picture: The caller's id.
        outcome: The answer, or what went wrong.
        chunk_bytes: The most bytes of pictures in one message.

    Yields:
        The messages in order; all but the last say that more follow.
    """
    if isinstance(outcome, Exception):
        status = status_of(outcome)
        error = generation_pb2.ItemError(code=status.code, message=status.message, details=status.details)
        yield Response(id=picture, error=error)
        return
    image, cycled = outcome.image.data, outcome.cycled.data
    first = generation_pb2.TranslateResponse()
    first.CopyFrom(outcome)
    first.image.data = image[:chunk_bytes]
    if outcome.HasField("cycled"):
        first.cycled.data = cycled[: chunk_bytes - len(first.image.data)]
    parts = [Response(id=picture, result=first)]
    parts += [Response(id=picture, image_chunk=part) for part in _cut(image, len(first.image.data), chunk_bytes)]
    parts += [Response(id=picture, cycled_chunk=part) for part in _cut(cycled, len(first.cycled.data), chunk_bytes)]
    for place, part in enumerate(parts, start=1):
        part.more = place < len(parts)
        yield part


def _cut(data: bytes, start: int, size: int) -> Iterator[bytes]:
    """Cut what stands from `start` on into pieces of a size."""
    return (data[place : place + size] for place in range(start, len(data), size))
