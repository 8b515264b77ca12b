"""A stream that coroutines share: against a real gateway, and against one that breaks."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import grpc
import pytest
from grpc import aio
from PIL import Image

from gantry.v1 import generation_pb2, generation_pb2_grpc
from services.client import AsyncClient, Client, GantryError
from services.client.exchange import CHUNK_BYTES
from services.client.translator import TranslationStream
from tests.services.client.refusing import SilentServicer, listening
from tests.services.gateway.fakes import settled, until

MODEL = "tiny-translation"
Request = generation_pb2.TranslateStreamRequest
Response = generation_pb2.TranslateStreamResponse


def picture(width: int, height: int, kind: str = "PNG") -> bytes:
    file = BytesIO()
    Image.effect_noise((width, height), 90).convert("RGB").save(file, kind)
    return file.getvalue()


async def test_everybody_gets_the_answer_to_their_picture(address: str) -> None:
    sent = [picture(16 + index, 16) for index in range(40)]
    async with AsyncClient(address) as client:
        translator = client.translator(MODEL, to="zebra")
        answers = await asyncio.gather(*(translator.translate(data) for data in sent))
        assert translator.under_way == 0
        await translator.close()
    assert [answer.width for answer in answers] == [16 + index for index in range(40)]
    with Client(address) as blocking:
        assert blocking.translate(MODEL, sent[3], to="zebra") == answers[3]


async def test_a_stream_that_is_closed_ends_well(address: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gantry.access")
    async with AsyncClient(address) as client:
        translator = client.translator(MODEL, to="zebra")
        await translator.translate(picture(16, 16))
        await translator.close()

    def ended() -> list[str]:
        lines = [record.getMessage() for record in caplog.records if record.name == "gantry.access"]
        return [line for line in lines if line.startswith("TranslateStream")]

    await until(lambda: bool(ended()))
    assert ended() == ["TranslateStream OK"]


async def test_a_large_picture_beside_a_bad_one(address: str) -> None:
    large = picture(1300, 1200, "BMP")
    assert len(large) > 4 * CHUNK_BYTES
    async with AsyncClient(address) as client:
        translator = client.translator(MODEL, to="zebra", format="raw")
        first, bad, second = await asyncio.gather(
            translator.translate(large),
            translator.translate(b"no picture"),
            translator.translate(large),
            return_exceptions=True,
        )
        await translator.close()
    assert isinstance(bad, GantryError)
    assert bad.reason == "INVALID_REQUEST"
    assert not isinstance(first, BaseException)
    assert first == second
    assert len(first.data) == 1300 * 1200 * 3


class Call:
    """A call with room for one message, and answers that the test gives."""

    def __init__(self) -> None:
        self.written: list[Request] = []
        self.room, self.answers = asyncio.Semaphore(0), asyncio.Queue[Any]()

    async def write(self, message: Request) -> None:
        self.written.append(message)
        await self.room.acquire()

    async def read(self) -> Any:
        return await self.answers.get()

    async def done_writing(self) -> None:
        self.answers.put_nowait(aio.EOF)

    def cancel(self) -> None:
        """Nothing is under way that it could end."""


async def test_the_rest_of_a_picture_that_is_refused_is_not_sent() -> None:
    call = Call()
    translator = TranslationStream(lambda: call, generation_pb2.TranslateRequest(model="m"), None)
    translating = asyncio.create_task(translator.translate(bytes(3 * CHUNK_BYTES)))
    await settled()
    call.answers.put_nowait(Response(id=call.written[0].id, error=generation_pb2.ItemError(code=3, message="bad")))
    with pytest.raises(GantryError, match="INVALID_ARGUMENT: bad"):
        await translating
    call.room.release()
    await settled()
    assert len(call.written) == 1
    await translator.close()


class BreakingServicer(generation_pb2_grpc.GenerationServiceServicer):
    """Ends its first call in a way of choice after it has read a picture; answers every picture of later calls."""

    def __init__(self, end: Any) -> None:
        self._end = end
        self.calls = 0

    def TranslateStream(self, request_iterator: Iterator[Request], context: Any) -> Iterator[Response]:  # noqa: N802
        self.calls += 1
        for message in request_iterator:
            if self.calls == 1:
                self._end(context)
                return
            image = generation_pb2.EncodedImage(data=b"z", width=1, height=1, channels=3, format=1)
            yield Response(
                id=message.id, result=generation_pb2.TranslateResponse(image=image, direction="DIRECTION_A_TO_B")
            )


@pytest.mark.parametrize(
    "end",
    [lambda context: None, lambda context: context.abort(grpc.StatusCode.UNAVAILABLE, "gone")],
    ids=["ended", "broken"],
)
async def test_a_stream_that_breaks_fails_all_and_is_opened_again(end: Any) -> None:
    servicer = BreakingServicer(end)
    with listening(servicer) as address:
        async with AsyncClient(address) as client:
            translator = client.translator("m", to="zebra")
            failed = await asyncio.gather(*(translator.translate(b"1") for _ in range(5)), return_exceptions=True)
            assert [error.code for error in failed if isinstance(error, GantryError)] == [
                grpc.StatusCode.UNAVAILABLE
            ] * 5
            assert (await translator.translate(b"2")).data == b"z"
            await translator.close()
    assert servicer.calls == 2


async def test_a_gateway_that_says_nothing_counts_as_gone() -> None:
    servicer = SilentServicer()
    with listening(servicer) as address:
        async with AsyncClient(address, timeout=0.05) as client:
            translator = client.translator("m", to="zebra")
            with pytest.raises(GantryError, match="no answer within") as caught:
                await translator.translate(b"1")
            assert caught.value.code is grpc.StatusCode.UNAVAILABLE
            await translator.close()
        servicer.released.set()


async def test_a_gateway_that_takes_the_connection_and_no_more_counts_as_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with AsyncClient(f"127.0.0.1:{listener.getsockname()[1]}", timeout=0.05) as client:
            translator = client.translator("m", to="zebra")
            failed = await asyncio.gather(*(translator.translate(b"1") for _ in range(3)), return_exceptions=True)
            assert [str(error) for error in failed] == ["UNAVAILABLE: no answer within 0.05 s"] * 3
            await settled()
            assert "_send" not in {task.get_coro().__name__ for task in asyncio.all_tasks()}, "it is given up"
            await translator.close()


async def test_a_gateway_that_is_not_there() -> None:
    async with AsyncClient("127.0.0.1:9") as client:
        translator = client.translator("m", to="zebra")
        with pytest.raises(GantryError) as caught:
            await translator.translate(b"1")
        assert caught.value.code is grpc.StatusCode.UNAVAILABLE
