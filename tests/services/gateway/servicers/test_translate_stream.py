"""The stream's order of things, with pictures that are made when the test says so: nothing waits for time to pass."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from google.rpc import error_details_pb2

from gantry.v1.generation_pb2 import (
    EncodedImage,
    ItemError,
    TranslateRequest,
    TranslateResponse,
    TranslateStreamRequest,
    TranslateStreamResponse,
)
from services.gateway.budget import Budget
from services.gateway.errors import InvalidRequestError, QueueFullError, ShuttingDownError, StreamIdleError
from services.gateway.interceptors.drain import Moment
from services.gateway.servicers.translate_stream import TranslateStream, split_answer
from services.gateway.servicers.uploads import StreamLimits
from services.gateway.telemetry.metrics import Metrics
from tests.services.gateway.cards import limits_of
from tests.services.gateway.fakes import settled

PICTURES = 3
Pause = Callable[[float], Awaitable[None]]


class Call:
    """A stream whose caller and whose maker are both the test."""

    def __init__(self, size: int = 100, budget: Budget | None = None, pause: Pause = asyncio.sleep) -> None:
        self.sent: asyncio.Queue[TranslateStreamRequest | None] = asyncio.Queue()
        self.making: dict[bytes, asyncio.Future[TranslateResponse]] = {}
        self.begun: list[bytes] = []
        self.answers: list[TranslateStreamResponse] = []
        self.stopping = Moment()
        limits = StreamLimits(PICTURES, size, idle_seconds=60.0)
        self._responses = TranslateStream(
            self._translate, budget, limits, limits_of(max_image_bytes=50), self.stopping, 4, pause
        ).run(self._requests())
        self.reading = asyncio.create_task(self._read())

    async def _requests(self) -> AsyncIterator[TranslateStreamRequest]:
        while message := await self.sent.get():
            yield message

    async def _translate(self, request: TranslateRequest) -> TranslateResponse:
        self.begun.append(request.image)
        self.making[request.image] = asyncio.get_running_loop().create_future()
        return await self.making[request.image]

    async def _read(self) -> None:
        async for response in self._responses:
            self.answers.append(response)

    async def send(self, *messages: TranslateStreamRequest | None) -> None:
        """Send messages, None for the end, and let everything happen that follows."""
        for message in messages:
            self.sent.put_nowait(message)
        await settled()

    async def make(self, image: bytes, result: bytes = b"") -> None:
        """Finish a picture."""
        self.making.pop(image).set_result(TranslateResponse(image=EncodedImage(data=result)))
        await settled()

    def errors(self) -> dict[str, ItemError]:
        """Errors by id."""
        return {answer.id: answer.error for answer in self.answers if answer.WhichOneof("part") == "error"}


@pytest_asyncio.fixture
async def call() -> AsyncIterator[Call]:
    call = Call()
    yield call
    call.reading.cancel()
    await asyncio.gather(call.reading, return_exceptions=True)


def first(picture: str, image: bytes, *, more: bool = False) -> TranslateStreamRequest:
    return TranslateStreamRequest(id=picture, translate=TranslateRequest(image=image), more=more)


def chunk(picture: str, data: bytes, *, more: bool = False) -> TranslateStreamRequest:
    return TranslateStreamRequest(id=picture, chunk=data, more=more)


def reason(error: ItemError) -> str:
    info = error_details_pb2.ErrorInfo()
    assert error.details[0].Unpack(info)
    return str(info.reason)


async def test_answers_come_as_they_are_ready_and_the_stream_ends_with_the_last(call: Call) -> None:
    await call.send(first("a", b"1"), first("b", b"2"), None)
    await call.make(b"2")
    assert [answer.id for answer in call.answers] == ["b"]
    assert not call.reading.done()
    await call.make(b"1")
    assert [answer.id for answer in call.answers] == ["b", "a"]
    assert call.reading.done()


async def test_an_empty_stream_ends(call: Call) -> None:
    await call.send(None)
    assert call.reading.done()
    assert call.answers == []


async def test_a_picture_at_fault_gets_its_error_and_the_stream_goes_on(call: Call) -> None:
    await call.send(first("a", b"1"), first("b", b"2"))
    call.making[b"1"].set_exception(QueueFullError("full", retry_seconds=1.5))
    await call.make(b"2")
    error = call.errors()["a"]
    assert (error.code, error.message, reason(error)) == (8, "full", "QUEUE_FULL")
    retry = error_details_pb2.RetryInfo()
    assert error.details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 1500
    await call.send(first("a", b"3"), None)
    await call.make(b"3")
    assert [answer.id for answer in call.answers] == ["a", "b", "a"]
    assert call.reading.done()


async def test_what_is_not_in_the_table_tells_nothing(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    await call.send(first("a", b"1"), None)
    call.making[b"1"].set_exception(ZeroDivisionError("a secret"))
    await settled()
    assert call.errors()["a"].message == "internal error"
    assert "a secret" in caplog.text


async def test_reading_stops_while_enough_is_under_way(call: Call) -> None:
    await call.send(*(first(str(number), b"%d" % number) for number in range(5)))
    assert call.begun == [b"0", b"1", b"2"]
    assert call.sent.qsize() == 1, "one message has been read and waits"
    await call.make(b"1")
    assert call.begun == [b"0", b"1", b"2", b"3"]


async def test_incomplete_pictures_never_hold_up_reading(call: Call) -> None:
    """As many incomplete pictures as may be, then what completes them: else nothing would ever move again."""
    await call.send(*(first(name, b"1", more=True) for name in "abc"))
    await call.send(*(chunk(name, name.encode()) for name in "abc"), None)
    assert call.begun == [b"1a", b"1b", b"1c"]
    for image in tuple(call.begun):
        await call.make(image)
    assert call.reading.done()
    assert not call.errors()


async def test_reading_stops_while_pictures_under_way_hold_too_many_bytes() -> None:
    call = Call(size=60)
    await call.send(first("a", b"a" * 40), first("b", b"b" * 30, more=True), chunk("b", b"c" * 10))
    assert call.begun == [b"a" * 40]
    await call.make(b"a" * 40)
    assert call.begun == [b"a" * 40, b"b" * 30 + b"c" * 10]
    await call.make(b"b" * 30 + b"c" * 10)
    await call.send(None)
    assert not call.errors()
    await call.reading


async def test_errors_that_nobody_reads_stop_reading_too() -> None:
    sent = 0

    async def requests() -> AsyncIterator[TranslateStreamRequest]:
        nonlocal sent
        while True:
            sent += 1
            yield chunk(f"id {sent}", b"")

    async def never(request: TranslateRequest) -> TranslateResponse:
        raise AssertionError

    responses = TranslateStream(never, None, StreamLimits(PICTURES, 100), limits_of(), Moment()).run(requests())
    assert (await anext(responses)).error.code == 3
    await settled()
    assert sent <= PICTURES + 2
    await responses.aclose()


async def test_a_gateway_that_stops_answers_what_is_complete_and_takes_no_more(call: Call) -> None:
    await call.send(first("a", b"1"), first("b", b"2", more=True))
    call.stopping.come()
    await call.send(first("c", b"3"), chunk("b", b"2"))
    assert call.begun == [b"1"]
    assert not call.reading.done()
    await call.make(b"1", result=b"made")
    assert [answer.id for answer in call.answers] == ["a"]
    with pytest.raises(ShuttingDownError):
        await call.reading


async def test_a_gateway_that_stops_ends_a_stream_that_waits_for_room(call: Call) -> None:
    await call.send(*(first(name, name.encode()) for name in "abcd"))
    assert call.begun == [b"a", b"b", b"c"]
    call.stopping.come()
    for name in "abc":
        await call.make(name.encode())
    assert [answer.id for answer in call.answers] == ["a", "b", "c"]
    with pytest.raises(ShuttingDownError):
        await call.reading


async def test_a_stream_that_is_read_to_its_end_does_not_mind_that_the_gateway_stops(call: Call) -> None:
    await call.send(first("a", b"1"), None)
    call.stopping.come()
    await call.make(b"1")
    await call.reading
    assert [answer.id for answer in call.answers] == ["a"]


async def test_an_id_that_is_not_yet_answered_is_refused_and_its_first_picture_goes_on(call: Call) -> None:
    await call.send(first("a", b"1"), first("a", b"2"))
    assert "not yet answered" in call.errors()["a"].message
    await call.make(b"1", result=b"made")
    assert call.answers[-1].result.image.data == b"made"
    await call.send(first("a", b"3"), None)
    await call.make(b"3")
    assert call.reading.done()


async def test_pictures_that_the_stream_leaves_unfinished_are_told(call: Call) -> None:
    await call.send(first("a", b"1"), first("b", b"2", more=True), first("c", b"3", more=True), None)
    assert {name: error.code for name, error in call.errors().items()} == {"b": 3, "c": 3}
    assert not call.reading.done()
    await call.make(b"1")
    assert call.reading.done()


@pytest.mark.parametrize("picture", ["", "x" * 257])
async def test_a_message_whose_picture_cannot_be_told_ends_the_call(call: Call, picture: str) -> None:
    await call.send(first("a", b"1"), first(picture, b"2"))
    with pytest.raises(InvalidRequestError, match="id: must be 1 to 256 bytes"):
        await call.reading
    assert call.making[b"1"].cancelled()


async def test_a_caller_who_goes_abandons_everything(call: Call) -> None:
    await call.send(first("a", b"1"), first("b", b"2"))
    call.reading.cancel()
    await settled()
    assert call.reading.cancelled()
    assert all(future.cancelled() for future in call.making.values())
    call.sent.put_nowait(first("c", b"3"))
    await settled()
    assert call.begun == [b"1", b"2"]


async def test_chunks_of_answers_are_never_mixed(call: Call) -> None:
    await call.send(first("a", b"1"), first("b", b"2"), None)
    for image, result in ((b"2", b"0123456789"), (b"1", b"ab")):
        call.making[image].set_result(TranslateResponse(image=EncodedImage(data=result)))
    await settled()
    assert [(answer.id, answer.more) for answer in call.answers] == [
        ("b", True), ("b", True), ("b", False), ("a", False),
    ]  # fmt: skip


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 4, 5, 7, 100])
@pytest.mark.parametrize(("image", "cycled"), [(b"0123456", b"abcde"), (b"0", b""), (b"012", None), (b"", b"abc")])
def test_an_answer_is_put_together_again(image: bytes, cycled: bytes | None, chunk_bytes: int) -> None:
    whole = TranslateResponse(image=EncodedImage(data=image, width=7), model="m")
    if cycled is not None:
        whole.cycled.CopyFrom(EncodedImage(data=cycled, width=8))
    start, *rest = split_answer("a", whole, chunk_bytes)
    assert [message.more for message in (start, *rest)] == [True] * len(rest) + [False]
    assert {message.id for message in (start, *rest)} == {"a"}
    assert len(start.result.image.data + start.result.cycled.data) <= chunk_bytes
    kinds = [str(message.WhichOneof("part")) for message in rest]
    assert kinds == sorted(kinds, reverse=True), "chunks of cycled come after those of image"
    together = TranslateResponse()
    together.CopyFrom(start.result)
    for message in rest:
        assert 1 <= len(message.image_chunk + message.cycled_chunk) <= chunk_bytes
        together.image.data += message.image_chunk
        if message.cycled_chunk:
            together.cycled.data += message.cycled_chunk
    assert together == whole


async def test_a_picture_that_waits_for_memory_too_long_is_refused_and_the_stream_goes_on() -> None:
    patience = asyncio.Event()

    async def pause(_: float) -> None:
        await patience.wait()

    call = Call(budget=Budget(80, 2.0, Metrics(), pause))
    await call.send(first("a", b"1" * 10, more=True), first("b", b"2" * 9))
    assert not call.begun, "a has 40 of the 70 bytes that pictures may have"
    patience.set()
    await call.send(chunk("a", b"3"))
    assert reason(call.errors()["b"]) == "MEMORY_FULL"
    retry = error_details_pb2.RetryInfo()
    assert call.errors()["b"].details[1].Unpack(retry)
    await call.make(b"1" * 10 + b"3")
    await call.send(first("b", b"2" * 9), None)
    await call.make(b"2" * 9)
    assert [answer.id for answer in call.answers] == ["b", "a", "b"]


async def test_what_a_stream_leaves_is_given_back() -> None:
    budget = Budget(800, 2.0, Metrics())
    call = Call(budget=budget)
    await call.send(first("a", b"1" * 10, more=True), first("b", b"2"), first("c", b"", more=True))
    assert budget.taken == 4 * 11
    call.reading.cancel()
    await settled()
    assert budget.taken == 0


async def test_a_stream_in_which_nothing_happens_ends() -> None:
    idle = asyncio.Event()

    async def pause(_: float) -> None:
        await idle.wait()

    call = Call(pause=pause)
    await call.send(first("a", b"1"))
    idle.set()
    await settled()
    assert not call.reading.done(), "a picture is under way"
    await call.make(b"1")
    with pytest.raises(StreamIdleError, match="no message has come for 60 s"):
        await call.reading
    assert [answer.id for answer in call.answers] == ["a"]
