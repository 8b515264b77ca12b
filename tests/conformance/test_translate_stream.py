"""TranslateStream: many pictures over one call, large ones in chunks, and an error for each one at fault."""

from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import grpc
import numpy as np
import pytest

from gantry.v1 import generation_pb2
from gantry.v1.generation_pb2 import (
    DIRECTION_A_TO_B,
    IMAGE_FORMAT_RAW,
    TranslateRequest,
    TranslateResponse,
    TranslateStreamRequest,
    TranslateStreamResponse,
)
from tests.conformance.harness import Served, assert_invalid, unpack
from tests.pictures import picture

MEBIBYTE = 1 << 20


def request(image: bytes, **fields: Any) -> TranslateRequest:
    fields = {"model": "horse2zebra", "direction": DIRECTION_A_TO_B, "format": IMAGE_FORMAT_RAW} | fields
    return TranslateRequest(image=image, **fields)


def messages(name: str, image: bytes, size: int = MEBIBYTE, **fields: Any) -> Iterator[TranslateStreamRequest]:
    """A picture in chunks."""
    for start in range(0, len(image), size):
        part, more = image[start : start + size], start + size < len(image)
        if start:
            yield TranslateStreamRequest(id=name, chunk=part, more=more)
        else:
            yield TranslateStreamRequest(id=name, translate=request(part, **fields), more=more)


def together(responses: Iterator[TranslateStreamResponse]) -> dict[str, TranslateResponse | generation_pb2.ItemError]:
    """Answers by id, put together from their chunks."""
    answers: dict[str, TranslateResponse | generation_pb2.ItemError] = {}
    unfinished = None
    for response in responses:
        assert response.ByteSize() < 4 * MEBIBYTE
        assert unfinished in (None, response.id), "answers are not mixed"
        unfinished = response.id if response.more else None
        part = response.WhichOneof("part")
        if part in ("result", "error"):
            assert response.id not in answers
            answers[response.id] = getattr(response, part)
            continue
        answer = answers[response.id]
        assert isinstance(answer, TranslateResponse)
        answer.image.data += response.image_chunk
        if response.cycled_chunk:
            answer.cycled.data += response.cycled_chunk
    assert unfinished is None
    return answers


def violations(error: generation_pb2.ItemError) -> list[str]:
    assert error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    details = unpack(error.details)
    assert (details["ErrorInfo"].domain, details["ErrorInfo"].reason) == ("gantry", "INVALID_REQUEST")
    return [violation.field for violation in details["BadRequest"].field_violations]


def test_pictures_come_back_as_from_single_calls(served: Served) -> None:
    images = {f"picture {seed}": picture(30 + seed, 20, seed=seed) for seed in range(40)}

    answers = together(
        served.generation.TranslateStream(part for name in images for part in messages(name, images[name], cycle=True))
    )

    assert set(answers) == set(images)
    for name in list(images)[::9]:
        assert answers[name] == served.generation.Translate(request(images[name], cycle=True))


def test_bad_pictures_get_errors_of_their_own_among_good_ones(served: Served) -> None:
    sound = picture()
    sent = {
        "sound": request(sound),
        "damaged": request(picture(60, 60)[:-400]),
        "no picture": request(b"no picture"),
        "too small": request(picture(8, 8)),
        "no model": request(sound, model="nope"),
        "no direction": request(sound, direction=0),
        "sound too": request(sound),
    }

    answers = together(
        served.generation.TranslateStream(
            TranslateStreamRequest(id=name, translate=asked) for name, asked in sent.items()
        )
    )

    assert set(answers) == set(sent)
    assert answers["sound"] == answers["sound too"] == served.generation.Translate(request(sound))
    for name in ("damaged", "no picture", "too small"):
        assert violations(answers[name]) == ["translate.image"]
    assert violations(answers["no direction"]) == ["translate.direction"]
    assert answers["no model"].code == grpc.StatusCode.NOT_FOUND.value[0]
    assert unpack(answers["no model"].details)["ErrorInfo"].reason == "MODEL_NOT_FOUND"


def test_large_pictures_travel_in_chunks_both_ways(served: Served) -> None:
    image = picture(1250, 1150)
    assert len(image) > 4 * MEBIBYTE

    answers = together(served.generation.TranslateStream(messages("large", image, cycle=True)))

    answer = answers["large"]
    assert isinstance(answer, TranslateResponse)
    assert len(answer.image.data) == len(answer.cycled.data) == 1250 * 1150 * 3 > 4 * MEBIBYTE
    sent, cycled = (np.frombuffer(data, np.uint8).astype(int) for data in (answer.cycled.data, answer.image.data))
    assert sent.shape == cycled.shape
    assert 0 < answer.cycle_l1 < 1


def test_chunks_of_different_pictures_may_be_mixed(served: Served) -> None:
    images = {name: picture(40, 30, seed=seed) for seed, name in enumerate("abc")}
    parts = [messages(name, image, size=600) for name, image in images.items()]

    def mixed() -> Iterator[TranslateStreamRequest]:
        while parts:
            turn = parts.pop(0)
            if (message := next(turn, None)) is not None:
                parts.append(turn)
                yield message

    answers = together(served.generation.TranslateStream(mixed()))

    assert set(answers) == set(images)
    for name, image in images.items():
        assert answers[name] == served.generation.Translate(request(image))


def test_an_id_may_be_used_again_once_it_is_answered(served: Served) -> None:
    to_send: SimpleQueue[TranslateStreamRequest | None] = SimpleQueue()
    responses = served.generation.TranslateStream(iter(to_send.get, None))

    answers = []
    for seed in range(20):
        to_send.put(TranslateStreamRequest(id="same", translate=request(picture(seed=seed))))
        answers.append(next(responses))
    to_send.put(None)

    assert list(responses) == []
    assert [answer.WhichOneof("part") for answer in answers] == ["result"] * 20
    assert len({answer.result.image.data for answer in answers}) == 20


def test_what_does_not_belong_is_told_and_the_stream_goes_on(served: Served) -> None:
    answers = together(
        served.generation.TranslateStream(
            iter(
                [
                    TranslateStreamRequest(id="chunk first", chunk=b"1"),
                    TranslateStreamRequest(id="nothing"),
                    TranslateStreamRequest(id="unfinished", translate=request(b"1"), more=True),
                    TranslateStreamRequest(id="sound", translate=request(picture())),
                ]
            )
        )
    )

    assert violations(answers["chunk first"]) == ["chunk"]
    assert violations(answers["nothing"]) == ["part"]
    assert violations(answers["unfinished"]) == ["more"]
    assert isinstance(answers["sound"], TranslateResponse)


@pytest.mark.parametrize("name", ["", "x" * 257])
def test_a_message_without_a_sound_id_ends_the_call(served: Served, name: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        list(served.generation.TranslateStream(messages(name, picture())))

    assert_invalid(raised.value, "id", "must be 1 to 256 bytes")


def test_bytes_that_are_no_message_end_their_own_call_only(served: Served) -> None:
    call = served.channel.stream_stream("/gantry.v1.GenerationService/TranslateStream")
    with pytest.raises(grpc.RpcError) as raised:
        list(call(iter([b"\xff" * 1000])))

    assert_invalid(raised.value, "request", "not a message of this method's type")
    assert together(served.generation.TranslateStream(messages("a", picture())))


def test_a_picture_of_too_many_bytes_is_refused_while_it_arrives(served: Served) -> None:
    def sent() -> Iterator[TranslateStreamRequest]:
        yield from messages("too large", bytes(33 * MEBIBYTE))
        yield from messages("sound", picture())

    answers = together(served.generation.TranslateStream(sent()))

    error = answers["too large"]
    assert isinstance(error, generation_pb2.ItemError)
    assert error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert unpack(error.details)["ErrorInfo"].reason == "IMAGE_TOO_LARGE"
    assert "more than 33554432 bytes" in error.message
    assert isinstance(answers["sound"], TranslateResponse)
