"""Many pictures over streams: what is sent, what each answer belongs to, what is sent again. No I/O but reading files.

A round is one call of TranslateStream. Pictures that are refused with a delay after which a retry can help, and all
that are unanswered when a call breaks in that way, go into another round, before those that were never sent.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from itertools import count
from os import PathLike
from threading import Lock
from typing import Any, NamedTuple

import grpc

from gantry.v1 import generation_pb2
from services.client.errors import GantryError, read_error, read_item_error
from services.client.images import ImageLike, image_bytes
from services.client.pictures import Translation
from services.client.retry import MAX_ATTEMPTS, pause_before_retry

CHUNK_BYTES = 1 << 20


class Translated(NamedTuple):
    """What became of one picture of many.

    Attributes:
        id: The caller's id of the picture; without one its path, or its place counted from 0.
        result: The picture in the other domain, or why there is none.
    """

    id: Any
    result: Translation | GantryError


@dataclass
class _Sending:
    id: Any
    image: ImageLike
    attempts: int = 0


class Exchange:
    """All rounds of one `translate_many`.

    `requests` may run on a thread of its own, beside `receive` and `settled`.

    Attributes:
        total: Number of pictures; None where it cannot be told before the last.
    """

    def __init__(
        self,
        images: Iterable[ImageLike | tuple[Any, ImageLike]],
        request: generation_pb2.TranslateRequest,
        timeout: float | None,
        attempts: int = MAX_ATTEMPTS,
    ) -> None:
        """Begin with nothing sent.

        Args:
            images: The pictures, each alone or with an id; taken, and read, only when there is room to send them.
            request: What is asked of every picture.
            timeout: The most seconds to wait for an answer or before a retry; None for no limit.
            attempts: The most times that a picture, or a call that breaks, is tried.
        """
        self.total = len(images) if isinstance(images, Sized) else None
        self._request = request
        self._timeout, self._attempts = timeout, attempts
        self._fresh = self._take_fresh(images)
        self._wire_ids = map(str, count())
        self._under_way: dict[str, _Sending] = {}
        self._now: deque[_Sending] = deque()  # To be sent again in this round,
        self._later: deque[_Sending] = deque()  # and in the next.
        self._settled: deque[Translated] = deque()
        self._parts: list[generation_pb2.TranslateStreamResponse] = []
        self._pause = 0.0
        self._broken_rounds = 0
        self._iterable_error: Exception | None = None
        # Held while a picture is taken: the thread of a round that is over must not take one from the next.
        self._taking = Lock()
        self._round = 0

    def requests(self) -> Iterator[generation_pb2.TranslateStreamRequest]:
        """Begin a round, and yield the messages to send in it."""
        return self._messages_of_round(self._round)

    def receive(self, response: generation_pb2.TranslateStreamResponse) -> None:
        """Take in an answer, or a part of one."""
        self._broken_rounds = 0
        self._parts.append(response)
        if response.more:
            return
        parts, self._parts = self._parts, []
        item = self._under_way.pop(response.id, None)
        if item is None:  # Has been answered: a chunk of it crossed the answer on the way.
            return
        result = read_answer(parts)
        if isinstance(result, GantryError):
            self._refused(item, result)
        else:
            self._settled.append(Translated(item.id, result))

    def settled(self) -> Iterator[Translated]:
        """Yield the pictures whose fate is known and was not yet told."""
        while self._settled:
            yield self._settled.popleft()

    def too_late(self) -> GantryError:
        """Return the error of a round that brought no answer in time."""
        message = f"no answer within {self._timeout:g} s; unanswered pictures: {len(self._under_way)}"
        return GantryError(grpc.StatusCode.DEADLINE_EXCEEDED, message)

    def end_round(self, error: grpc.RpcError | None) -> float | None:
        """End a round.

        Args:
            error: What broke the call; None where it ended by itself.

        Returns:
            Seconds to wait before another round, or None where every picture is answered.

        Raises:
            GantryError: The call broke, and no retry can help.
            Exception: Whatever the iterable of pictures raised.
        """
        with self._taking:
            self._round += 1
            self._parts.clear()
            pause, self._pause = self._pause, 0.0
            if error is not None:
                pause = max(pause, self._pause_after(read_error(error)))
            elif self._under_way:
                raise GantryError(grpc.StatusCode.UNKNOWN, f"the stream ended, {len(self._under_way)} pictures short")
            self._now = deque([*self._later, *self._under_way.values(), *self._now])
            self._later.clear()
            self._under_way.clear()
            if self._now or error is not None:
                return pause
            if self._iterable_error is not None:
                raise self._iterable_error
            return None

    def _pause_after(self, error: GantryError) -> float:
        self._broken_rounds += 1
        pause = self._pause_before_retry(error, self._broken_rounds)
        if pause is None:
            raise error
        return pause

    def _refused(self, item: _Sending, error: GantryError) -> None:
        item.attempts += 1
        pause = self._pause_before_retry(error, item.attempts)
        if pause is None:
            self._settled.append(Translated(item.id, error))
        else:
            self._later.append(item)
            self._pause = max(self._pause, pause)

    def _pause_before_retry(self, error: GantryError, attempts: int) -> float | None:
        seconds_left = float("inf") if self._timeout is None else self._timeout
        return pause_before_retry(error, attempts, seconds_left, self._attempts)

    def _take_fresh(self, images: Iterable[ImageLike | tuple[Any, ImageLike]]) -> Iterator[_Sending]:
        try:
            for index, given in enumerate(images):
                if isinstance(given, tuple):
                    yield _Sending(*given)
                else:
                    yield _Sending(given if isinstance(given, str | PathLike) else index, given)
        except Exception as error:  # The caller's own; raised where the caller can see it, not inside of gRPC.
            self._iterable_error = error

    def _messages_of_round(self, number: int) -> Iterator[generation_pb2.TranslateStreamRequest]:
        while taken := self._take(number):
            wire_id, item = taken
            try:
                data = image_bytes(item.image)
            except Exception as error:  # PIL raises more than OSError, and one bad picture is not to end the call.
                if self._under_way.pop(wire_id, None):
                    unreadable = GantryError(grpc.StatusCode.INVALID_ARGUMENT, f"the picture cannot be read: {error}")
                    self._settled.append(Translated(item.id, unreadable))
                continue
            for message in picture_messages(wire_id, self._request, data):
                if wire_id not in self._under_way:  # It is answered already: the rest of it is of no use.
                    break
                yield message

    def _take(self, number: int) -> tuple[str, _Sending] | None:
        """Take the next picture and count it as under way; none where the round is over."""
        with self._taking:
            item = None
            if number == self._round:
                item = self._now.popleft() if self._now else next(self._fresh, None)
            if item is None:
                return None
            wire_id = next(self._wire_ids)
            self._under_way[wire_id] = item
            return wire_id, item


def picture_messages(
    wire_id: str, request: generation_pb2.TranslateRequest, data: bytes
) -> Iterator[generation_pb2.TranslateStreamRequest]:
    """Yield the messages that bring one picture.

    Args:
        wire_id: Its id on the stream.
        request: What is asked of it.
        data: The picture as a file.
    """
    first = generation_pb2.TranslateRequest(image=data[:CHUNK_BYTES])
    first.MergeFrom(request)
    yield generation_pb2.TranslateStreamRequest(id=wire_id, translate=first, more=len(data) > CHUNK_BYTES)
    for start in range(CHUNK_BYTES, len(data), CHUNK_BYTES):
        end = start + CHUNK_BYTES
        yield generation_pb2.TranslateStreamRequest(id=wire_id, chunk=data[start:end], more=end < len(data))


def read_answer(parts: list[generation_pb2.TranslateStreamResponse]) -> Translation | GantryError:
    """Read the messages of one answer, all of them: the picture, or why there is none."""
    if parts[0].HasField("error"):
        return read_item_error(parts[0].error)
    return Translation.from_message(_joined(parts))


def _joined(parts: list[generation_pb2.TranslateStreamResponse]) -> generation_pb2.TranslateResponse:
    """Put the chunks of an answer together."""
    result = parts[0].result
    if len(parts) > 1:
        result.image.data += b"".join(part.image_chunk for part in parts[1:])
        if result.HasField("cycled"):
            result.cycled.data += b"".join(part.cycled_chunk for part in parts[1:])
    return result
