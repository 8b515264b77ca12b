"""Chunks of many pictures, mixed in any way, become whole pictures; what does not belong is told once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.v1.generation_pb2 import TranslateRequest, TranslateStreamRequest
from services.gateway.errors import InvalidRequestError
from services.gateway.servicers.uploads import StreamLimits, Uploads, check_id
from services.worker.decoding import ImageTooLargeError
from tests.services.gateway.cards import limits_of

LIMITS = limits_of(max_image_bytes=10)


def uploads(pictures: int = 3, size: int = 20, unanswered: tuple[str, ...] = ()) -> Uploads:
    return Uploads(StreamLimits(pictures, size), LIMITS, set(unanswered))


def first(picture: str, image: bytes = b"", *, more: bool = False) -> TranslateStreamRequest:
    return TranslateStreamRequest(id=picture, translate=TranslateRequest(model=f"of {picture}", image=image), more=more)


def chunk(picture: str, data: bytes, *, more: bool = False) -> TranslateStreamRequest:
    return TranslateStreamRequest(id=picture, chunk=data, more=more)


def refusal(open_uploads: Uploads, message: TranslateStreamRequest) -> tuple[str, str]:
    with pytest.raises(InvalidRequestError) as error:
        open_uploads.add(message)
    ((field, description),) = error.value.violations
    return field, description


def test_a_picture_in_one_message_is_complete() -> None:
    assert uploads().add(first("a", b"1234")) == TranslateRequest(model="of a", image=b"1234")


@given(data=st.data())
def test_chunks_of_pictures_may_come_in_any_mixture(data: st.DataObject) -> None:
    pictures = {name: data.draw(st.lists(st.binary(max_size=3), min_size=1, max_size=3)) for name in "abc"}
    left = {
        name: [
            chunk(name, part, more=place < len(parts) - 1) if place else first(name, part, more=len(parts) > 1)
            for place, part in enumerate(parts)
        ]
        for name, parts in pictures.items()
    }
    open_uploads, whole = uploads(size=30), {}
    while left:
        name = data.draw(st.sampled_from(sorted(left)))
        if request := open_uploads.add(left[name].pop(0)):
            whole[name] = request
        if not left[name]:
            del left[name]
    assert whole == {
        name: TranslateRequest(model=f"of {name}", image=b"".join(parts)) for name, parts in pictures.items()
    }
    assert (open_uploads.bytes, open_uploads.unfinished) == (0, [])


def test_a_chunk_of_no_picture_is_told_once_and_the_rest_of_it_ignored() -> None:
    open_uploads = uploads()
    assert refusal(open_uploads, chunk("a", b"1", more=True))[0] == "chunk"
    assert open_uploads.add(chunk("a", b"2", more=True)) is None
    assert open_uploads.add(chunk("a", b"3")) is None
    assert refusal(open_uploads, chunk("a", b"4"))[0] == "chunk"


def test_a_message_without_a_part_is_told() -> None:
    assert refusal(uploads(), TranslateStreamRequest(id="a"))[0] == "part"


def test_an_id_that_is_incomplete_cannot_begin_again() -> None:
    open_uploads = uploads()
    open_uploads.add(first("a", b"1", more=True))
    assert refusal(open_uploads, first("a", b"2", more=True)) == ("id", "a picture of this id is not yet answered")
    assert (open_uploads.unfinished, open_uploads.bytes) == ([], 0)
    assert open_uploads.add(chunk("a", b"3", more=True)) is None
    assert open_uploads.add(chunk("a", b"4")) is None
    assert open_uploads.add(first("a", b"5")) is not None


def test_an_id_that_is_not_answered_cannot_begin_again() -> None:
    open_uploads = uploads(unanswered=("a",))
    assert refusal(open_uploads, first("a", b"1")) == ("id", "a picture of this id is not yet answered")
    assert refusal(open_uploads, chunk("a", b"1"))[0] == "chunk"


def test_an_id_may_begin_again_after_its_picture_was_refused_half_way() -> None:
    open_uploads = uploads()
    with pytest.raises(ImageTooLargeError):
        open_uploads.add(first("a", b"x" * 11, more=True))
    assert open_uploads.add(first("a", b"12", more=True)) is None
    assert open_uploads.add(chunk("a", b"3")) == TranslateRequest(model="of a", image=b"123")


def test_a_picture_of_too_many_bytes_is_refused_as_soon_as_they_are_there() -> None:
    open_uploads = uploads()
    open_uploads.add(first("a", b"x" * 10, more=True))
    with pytest.raises(ImageTooLargeError, match="more than 10 bytes"):
        open_uploads.add(chunk("a", b"x", more=True))
    assert open_uploads.bytes == 0
    assert open_uploads.add(chunk("a", b"x" * 100)) is None


def test_only_so_many_pictures_may_be_incomplete() -> None:
    open_uploads = uploads(pictures=2)
    for name in "ab":
        open_uploads.add(first(name, more=True))
    assert refusal(open_uploads, first("c", more=True)) == (
        "id",
        "at most 2 pictures of a stream may be incomplete; finish one first",
    )
    assert open_uploads.unfinished == ["a", "b"]
    assert open_uploads.add(chunk("a", b"1"))
    assert open_uploads.add(first("c", b"1"))


def test_only_so_many_bytes_may_be_incomplete() -> None:
    open_uploads = uploads(size=15)
    open_uploads.add(first("a", b"x" * 8, more=True))
    field, description = refusal(open_uploads, first("b", b"x" * 8, more=True))
    assert field == "translate"
    assert "may have 15 bytes in all" in description
    assert open_uploads.bytes == 8


def test_what_is_thrown_away_is_not_remembered_for_ever() -> None:
    open_uploads = uploads()
    for number in range(2000):
        refusal(open_uploads, chunk(str(number), b"", more=True))
    assert refusal(open_uploads, chunk("0", b""))[0] == "chunk"
    assert open_uploads.add(chunk("1999", b"")) is None


@pytest.mark.parametrize("picture", ["", "x" * 257, "ü" * 129])
def test_an_id_has_1_to_256_bytes(picture: str) -> None:
    with pytest.raises(InvalidRequestError, match="id: must be 1 to 256 bytes"):
        check_id(picture)
    check_id("x" * 256)
