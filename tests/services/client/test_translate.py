"""Translations by the client against a real gateway."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import grpc
import pytest
from PIL import Image

from services.client import Client, GantryError, Translation
from services.client.exchange import CHUNK_BYTES

MODEL = "tiny-translation"


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    with Client(address) as client:
        yield client


def noise(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 90).convert("RGB")


def test_a_picture_keeps_its_size_and_tells_its_facts(client: Client) -> None:
    result = client.translate(MODEL, noise(31, 17), to="zebra")
    assert (result.width, result.height) == result.image.size == (31, 17)
    assert (result.direction, result.source, result.target) == ("a_to_b", "horse", "zebra")
    assert (result.model, result.version, result.digest) == (MODEL, "1.0.0", client.model(MODEL).digest)
    assert result.execution == "cpu-float32-eager"
    assert (result.cycled, result.cycle_l1) == (None, None)


def test_paths_bytes_and_images_mean_the_same(client: Client, tmp_path: Path) -> None:
    image = noise(20, 18)
    image.save(tmp_path / "a.png")
    sent = [tmp_path / "a.png", str(tmp_path / "a.png"), (tmp_path / "a.png").read_bytes(), image]
    first, *others = [client.translate(MODEL, one, direction="a_to_b", format="raw") for one in sent]
    assert others == [first] * 3


def test_the_way_is_named_by_either_domain_or_by_direction(client: Client) -> None:
    image = noise(16, 16)
    to_horse = client.translate(MODEL, image, to="horse")
    assert (
        to_horse == client.translate(MODEL, image, source="zebra") == client.translate(MODEL, image, direction="b_to_a")
    )
    assert to_horse != client.translate(MODEL, image, to="zebra")


def test_a_cycled_picture_comes_with_its_distance(client: Client) -> None:
    result = client.translate(MODEL, noise(16, 24), to="zebra", cycle=True)
    assert result.cycled is not None
    assert result.cycled.image.size == (16, 24)
    assert result.cycle_l1 is not None
    assert 0 < result.cycle_l1 < 1


def test_pictures_larger_than_a_message_travel_in_chunks(client: Client) -> None:
    image = noise(1300, 1200)
    sent = BytesIO()
    image.save(sent, "BMP")
    result = client.translate(MODEL, sent.getvalue(), to="zebra", cycle=True, format="raw")
    assert len(sent.getvalue()) > 4 * CHUNK_BYTES
    assert len(result.data) == 1300 * 1200 * 3
    assert result.cycled is not None
    assert result.cycled.image.size == (1300, 1200)


def test_a_bad_picture_raises_what_is_wrong_with_it(client: Client) -> None:
    with pytest.raises(GantryError) as caught:
        client.translate(MODEL, b"no picture", to="zebra")
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.reason == "INVALID_REQUEST"
    assert [violation.field for violation in caught.value.field_violations] == ["translate.image"]


def test_a_file_that_is_not_there_raises_as_files_do(client: Client, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.translate(MODEL, tmp_path / "none.png", to="zebra")


def test_a_picture_that_is_too_large_is_not_sent_again(client: Client) -> None:
    with pytest.raises(GantryError) as caught:
        client.translate(MODEL, Image.new("1", (3000, 3000)), to="zebra")
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (caught.value.reason, caught.value.retry_seconds) == ("IMAGE_TOO_LARGE", None)


def test_many_pictures_with_bad_ones_among_them(client: Client, tmp_path: Path) -> None:
    good = [(f"good {index}", noise(16 + index, 16)) for index in range(40)]
    bad = [("empty", b""), tmp_path / "none.png", ("text", b"text")]
    results = dict(client.translate_many(MODEL, iter([*good[:20], *bad, *good[20:]]), to="zebra"))
    assert len(results) == 43
    for index in range(40):
        translation = results[f"good {index}"]
        assert isinstance(translation, Translation)
        assert translation.image.size == (16 + index, 16)
    for name in ("empty", tmp_path / "none.png", "text"):
        assert isinstance(results[name], GantryError)
    assert "No such file" in str(results[tmp_path / "none.png"])


def test_pictures_without_an_id_have_their_path_or_place(client: Client, tmp_path: Path) -> None:
    noise(16, 16).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    images = [tmp_path / "a.png", data, str(tmp_path / "a.png"), Image.open(tmp_path / "a.png")]
    names = {name for name, _ in client.translate_many(MODEL, images, to="zebra")}
    assert names == {tmp_path / "a.png", 1, str(tmp_path / "a.png"), 3}


def test_one_picture_may_come_twice(client: Client) -> None:
    image = noise(16, 16)
    results = list(client.translate_many(MODEL, [("same", image)] * 30, to="zebra"))
    assert [name for name, _ in results] == ["same"] * 30
    assert len({result.data for _, result in results if isinstance(result, Translation)}) == 1


def test_no_pictures(client: Client) -> None:
    assert list(client.translate_many(MODEL, [], to="zebra")) == []


def test_a_request_at_fault_is_told_of_every_picture(client: Client) -> None:
    results = [result for _, result in client.translate_many(MODEL, [noise(16, 16)] * 2, to="cow")]
    assert all(isinstance(result, GantryError) and "horse" in result.message for result in results)


def test_pictures_are_taken_only_when_there_is_room(client: Client) -> None:
    taken = []

    def endless() -> Iterator[tuple[int, Image.Image]]:
        while True:
            taken.append(len(taken))
            yield len(taken), noise(600, 600)  # A megabyte each.

    results = client.translate_many(MODEL, endless(), to="zebra")
    assert isinstance(next(results).result, Translation)
    results.close()
    assert len(taken) < 60
    assert client.translate(MODEL, noise(16, 16), to="zebra")


def test_what_the_iterable_raises_is_raised_after_the_answers(client: Client) -> None:
    def broken() -> Iterator[Image.Image]:
        yield noise(16, 16)
        raise LookupError("the camera is gone")

    results = client.translate_many(MODEL, broken(), to="zebra")
    assert isinstance(next(results).result, Translation)
    with pytest.raises(LookupError, match="the camera is gone"):
        next(results)


def test_a_progress_bar_counts_on_stderr(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    images = [noise(16, 16), b"bad", noise(16, 16)]
    assert len(list(client.translate_many(MODEL, images, to="zebra", progress=True))) == 3
    captured = capsys.readouterr()
    assert "3/3" in captured.err
    assert captured.out == ""
