"""No call and no answer is over TorchServe's limit, and no item is lost or moved."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gantry.v1 import models_pb2, worker_pb2
from services.backends.torchserve.parts import answer_bytes, cut
from services.worker.imaging import FORMATS, encode

GREY = models_pb2.ImageSpec(width=28, height=28, channels=1)
ANY_SIZE = models_pb2.ImageSpec(channels=3)

Item = worker_pb2.WorkItem


def png(height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return buffer.getvalue()


def translation(data: bytes, cycle: bool = False, max_pixels: int = 1 << 30) -> Item:
    work = worker_pb2.TranslateWork(image=data, direction=1, cycle=cycle, max_pixels=max_pixels)
    return Item(translate=work, format=1)


def test_an_envelope_that_fits_stays_whole() -> None:
    items = [Item(generate=worker_pb2.GenerateWork(seed=seed)) for seed in range(10)]
    assert list(cut(items, GREY, 1 << 20)) == [worker_pb2.WorkRequest(items=items)]


def test_an_envelope_without_items_needs_no_call() -> None:
    assert list(cut([], GREY, 1 << 20)) == []


@given(
    sizes=st.lists(
        st.tuples(st.sampled_from([16, 100, 180, 260]), st.booleans(), st.integers(0, 200_000)), max_size=12
    ),
    limit=st.integers(150_000, 500_000),
)
def test_no_part_is_over_the_limit_and_the_order_stays(sizes: list[tuple[int, bool, int]], limit: int) -> None:
    items = [translation(png(side, side) + bytes(padding), cycle) for side, cycle, padding in sizes]
    seen = []
    for part in cut(items, ANY_SIZE, limit):
        if isinstance(part, worker_pb2.WorkReply):
            lone = items[len(seen)]
            assert max(lone.ByteSize(), answer_bytes(lone, ANY_SIZE)) + 4096 > limit
            assert part.results[0].bad_image.endswith(f"bytes; this TorchServe passes {limit}")
            seen.append(lone)
        else:
            assert part.ByteSize() <= limit
            assert sum(answer_bytes(item, ANY_SIZE) for item in part.items) <= limit
            seen += part.items
    assert seen == items


@pytest.mark.parametrize("image_format", sorted(FORMATS))
@pytest.mark.parametrize("side", [16, 64, 300])
def test_an_answer_takes_no_more_than_was_reckoned(image_format: int, side: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    image = encode(noise, image_format, 100, {"gantry:seed": "1" * 100})
    result = worker_pb2.WorkResult(image=image, cycled=image, cycle_l1=0.5)
    assert result.ByteSize() <= answer_bytes(translation(png(side, side), cycle=True), ANY_SIZE)
    assert worker_pb2.WorkResult(image=image).ByteSize() <= answer_bytes(translation(png(side, side)), ANY_SIZE)


def test_the_answer_to_a_bad_picture_is_short() -> None:
    assert answer_bytes(translation(b"no picture"), ANY_SIZE) < 4096
    assert answer_bytes(translation(png(200, 200), max_pixels=100), ANY_SIZE) < 4096
