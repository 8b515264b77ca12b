"""Many pictures over streams, without a stream: messages and answers are passed by hand."""

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
import pytest

from gantry.v1 import generation_pb2
from services.backends.base import BackendUnavailableError
from services.client import GantryError, Translation
from services.client.exchange import CHUNK_BYTES, Exchange
from services.client.retry import MAX_ATTEMPTS
from services.gateway.errors import QueueFullError, UnknownModelError, status_of

REQUEST = generation_pb2.TranslateRequest(model="m", target_domain="zebra")
Response = generation_pb2.TranslateStreamResponse


class Broken(grpc.RpcError):
    """A call that broke, without details."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "gone"

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return ()


class Refused(Broken):
    """A call that the gateway refused for a while."""

    def __init__(self, error: Exception) -> None:
        self.status = status_of(error)

    def details(self) -> str:
        return self.status.message

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return (("grpc-status-details-bin", self.status.SerializeToString()),)


def exchange_of(images: Any, timeout: float | None = 30.0) -> Exchange:
    return Exchange(images, REQUEST, timeout)


def answer(wire_id: str, data: bytes = b"z", **fields: Any) -> Response:
    image = generation_pb2.EncodedImage(
        data=data, width=1, height=1, channels=3, format=generation_pb2.IMAGE_FORMAT_PNG
    )
    result = generation_pb2.TranslateResponse(image=image, direction=generation_pb2.DIRECTION_A_TO_B)
    return Response(id=wire_id, result=result, **fields)


def refusal(wire_id: str, error: Exception) -> Response:
    status = status_of(error)
    item = generation_pb2.ItemError(code=status.code, message=status.message, details=status.details)
    return Response(id=wire_id, error=item)


def sent(exchange: Exchange) -> list[tuple[str, bytes]]:
    """Send a whole round of small pictures, and tell their ids and bytes."""
    return [(message.id, message.translate.image) for message in exchange.requests()]


def test_a_small_picture_is_one_message() -> None:
    (message,) = exchange_of([b"abc"]).requests()
    assert message.translate == generation_pb2.TranslateRequest(model="m", target_domain="zebra", image=b"abc")
    assert not message.more


@pytest.mark.parametrize("size", [CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 5])
def test_a_large_picture_is_cut_into_chunks(size: int) -> None:
    data = bytes(range(251)) * (size // 251) + bytes(size % 251)
    first, *rest = exchange_of([data]).requests()
    assert first.translate.image + b"".join(message.chunk for message in rest) == data
    assert len(rest) == math.ceil(size / CHUNK_BYTES) - 1
    assert [message.more for message in (first, *rest)] == [True] * len(rest) + [False]
    assert {message.id for message in rest} <= {first.id}


def test_answers_find_their_pictures_in_any_order() -> None:
    exchange = exchange_of([("a", b"1"), ("b", b"2")])
    (a, _), (b, _) = sent(exchange)
    exchange.receive(answer(b, b"B"))
    exchange.receive(answer(a, b"A"))
    results = {name: result.data for name, result in exchange.settled() if isinstance(result, Translation)}
    assert results == {"a": b"A", "b": b"B"}
    assert exchange.end_round(None) is None


def test_an_answer_in_chunks_is_put_together() -> None:
    exchange = exchange_of([b"1"])
    ((wire_id, _),) = sent(exchange)
    first = answer(wire_id, b"A", more=True)
    first.result.cycled.CopyFrom(first.result.image)
    first.result.cycled.data = b""
    exchange.receive(first)
    exchange.receive(Response(id=wire_id, image_chunk=b"BC", more=True))
    exchange.receive(Response(id=wire_id, cycled_chunk=b"X", more=True))
    assert list(exchange.settled()) == []
    exchange.receive(Response(id=wire_id, cycled_chunk=b"Y"))
    ((_, result),) = exchange.settled()
    assert isinstance(result, Translation)
    assert result.data == b"ABC"
    assert result.cycled is not None
    assert result.cycled.data == b"XY"


def test_files_are_read_when_they_are_sent(tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    messages = exchange_of(files).requests()
    files[0].write_bytes(b"first")
    assert next(messages).translate.image == b"first"
    files[1].write_bytes(b"second")
    assert next(messages).translate.image == b"second"


def test_a_file_that_cannot_be_read_fails_alone(tmp_path: Path) -> None:
    exchange = exchange_of([tmp_path / "none", b"1"])
    ((wire_id, _),) = sent(exchange)
    exchange.receive(answer(wire_id))
    (missing, _), (index, translation) = exchange.settled()
    assert (missing, index) == (tmp_path / "none", 1)
    assert isinstance(translation, Translation)
    assert exchange.end_round(None) is None


def test_the_rest_of_a_picture_that_is_answered_is_not_sent() -> None:
    exchange = exchange_of([bytes(5 * CHUNK_BYTES), b"next"])
    messages = exchange.requests()
    large = next(messages).id
    exchange.receive(refusal(large, UnknownModelError("no m")))
    following = next(messages)
    assert following.translate.image == b"next"
    exchange.receive(refusal(large, UnknownModelError("a chunk that crossed the answer")))
    exchange.receive(answer(following.id))
    assert [name for name, _ in exchange.settled()] == [0, 1]


def test_a_picture_refused_for_now_is_sent_again_after_the_longest_delay() -> None:
    exchange = exchange_of([("a", b"1"), ("b", b"2"), ("c", b"3")])
    (a, _), (b, _), (c, _) = sent(exchange)
    exchange.receive(refusal(a, QueueFullError("full", 0.5)))
    exchange.receive(answer(b))
    exchange.receive(refusal(c, BackendUnavailableError("down")))
    assert [name for name, _ in exchange.settled()] == ["b"]
    assert exchange.end_round(None) == 2.0
    again = sent(exchange)
    assert [data for _, data in again] == [b"1", b"3"]
    assert not {a, b, c} & {wire_id for wire_id, _ in again}
    for wire_id, _ in again:
        exchange.receive(answer(wire_id))
    assert [name for name, _ in exchange.settled()] == ["a", "c"]
    assert exchange.end_round(None) is None


def test_a_picture_is_given_up_after_the_last_attempt() -> None:
    exchange = exchange_of([b"1"])
    for _ in range(MAX_ATTEMPTS):
        assert list(exchange.settled()) == []
        ((wire_id, _),) = sent(exchange)
        exchange.receive(refusal(wire_id, QueueFullError("full", 0.5)))
        pause = exchange.end_round(None)
    assert pause is None
    ((_, error),) = exchange.settled()
    assert isinstance(error, GantryError)
    assert error.reason == "QUEUE_FULL"


def test_a_delay_beyond_the_timeout_is_not_waited_for() -> None:
    exchange = exchange_of([b"1"], timeout=1.0)
    ((wire_id, _),) = sent(exchange)
    exchange.receive(refusal(wire_id, BackendUnavailableError("down")))
    assert len(list(exchange.settled())) == 1
    assert exchange.end_round(None) is None


def test_a_call_that_is_refused_for_now_begins_again_where_it_was() -> None:
    exchange = exchange_of([b"1", b"2", b"3", b"4"])
    late = exchange.requests()
    first, second = islice(late, 2)
    exchange.receive(answer(first.id, more=True))
    assert exchange.end_round(Refused(BackendUnavailableError("down"))) == 2.0
    assert list(late) == []  # The thread of the round that is over must take nothing more.
    again = sent(exchange)
    assert [data for _, data in again] == [b"1", b"2", b"3", b"4"]
    exchange.receive(answer(again[0][0], b"whole"))
    exchange.receive(answer(second.id))  # Nor does an answer of that round count.
    ((_, result),) = exchange.settled()
    assert isinstance(result, Translation)
    assert result.data == b"whole"


def test_a_call_that_is_refused_over_and_over_is_given_up() -> None:
    exchange = exchange_of([b"1"])
    for _ in range(MAX_ATTEMPTS - 1):
        sent(exchange)
        assert exchange.end_round(Refused(BackendUnavailableError("down"))) == 2.0
    sent(exchange)
    with pytest.raises(GantryError, match="UNAVAILABLE: down"):
        exchange.end_round(Refused(BackendUnavailableError("down")))


def test_a_call_that_brings_answers_before_it_is_refused_is_never_given_up() -> None:
    exchange = exchange_of([b"1"] * 2 * MAX_ATTEMPTS)
    for _ in range(2 * MAX_ATTEMPTS):
        (answered, _), *_ = sent(exchange)
        exchange.receive(answer(answered))
        assert exchange.end_round(Refused(BackendUnavailableError("down"))) == 2.0


def test_a_call_that_breaks_otherwise_is_raised() -> None:
    exchange = exchange_of([b"1"])
    sent(exchange)
    with pytest.raises(GantryError, match="UNAVAILABLE: gone"):
        exchange.end_round(Broken())


def test_a_stream_that_ends_too_soon_is_raised() -> None:
    exchange = exchange_of([b"1", b"2"])
    sent(exchange)
    with pytest.raises(GantryError, match="the stream ended, 2 pictures short"):
        exchange.end_round(None)


def test_who_waits_in_vain_is_told_how_long_and_for_how_many_pictures() -> None:
    exchange = exchange_of([b"1", b"2", b"3"], timeout=0.5)
    (answered, _), *_ = sent(exchange)
    exchange.receive(answer(answered))
    assert str(exchange.too_late()) == "DEADLINE_EXCEEDED: no answer within 0.5 s; unanswered pictures: 2"


def test_what_the_iterable_raises_waits_for_the_retries() -> None:
    def broken() -> Iterator[bytes]:
        yield b"1"
        raise LookupError("no more")

    exchange = exchange_of(broken())
    ((wire_id, _),) = sent(exchange)
    exchange.receive(refusal(wire_id, QueueFullError("full", 0.5)))
    assert exchange.end_round(None) == 0.5
    ((wire_id, _),) = sent(exchange)
    exchange.receive(answer(wire_id))
    with pytest.raises(LookupError, match="no more"):
        exchange.end_round(None)


def test_the_number_of_pictures_is_known_where_it_can_be() -> None:
    assert exchange_of([b"1", b"2"]).total == 2
    assert exchange_of(iter([b"1"])).total is None
