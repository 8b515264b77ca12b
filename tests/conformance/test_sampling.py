"""A picture is a function: what Sample and SampleStream give, the same through every backend, byte for byte."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gantry.v1 import generation_pb2, models_pb2
from gantry.v1.generation_pb2 import (
    IMAGE_FORMAT_JPEG,
    IMAGE_FORMAT_PNG,
    IMAGE_FORMAT_RAW,
    IMAGE_FORMAT_WEBP,
    CodeValue,
    GridOptions,
    SampleRequest,
)
from tests.archives import CLASS_NAMES
from tests.conformance.harness import Served, pixels_of

WIDTH, HEIGHT = 6, 8
LARGEST_SEED = (1 << 64) - 1


def sample(served: Served, model: str = "grey", **fields: Any) -> generation_pb2.SampleResponse:
    response: generation_pb2.SampleResponse = served.generation.Sample(SampleRequest(model=model, **fields))
    return response


def data_of(response: generation_pb2.SampleResponse) -> list[bytes]:
    return [image.encoded.data for image in response.images]


@pytest.mark.parametrize("model", ["grey", "rgb"])
def test_bytes_are_the_same_alone_and_in_a_group_of_64(served: Served, model: str) -> None:
    together = data_of(sample(served, model, label_ids=[1], count=64, seed=1000))

    alone = [data_of(sample(served, model, label_ids=[1], seed=1000 + index))[0] for index in range(64)]

    assert together == alone
    assert len(set(together)) == 64


@pytest.mark.parametrize("place", [0, 1, 7, 8, 31, 62, 63])
def test_bytes_are_the_same_in_any_place_among_other_labels(served: Served, place: int) -> None:
    labels = [2 if index == place else index % 2 for index in range(64)]

    among_others = sample(served, label_ids=labels, seed=500 - place).images[place]

    assert among_others.encoded.data == data_of(sample(served, label_ids=[2], seed=500))[0]


def test_bytes_are_the_same_beside_other_callers(served: Served) -> None:
    seeds = [seed for seed in range(8) for _ in range(4)]
    alone = {seed: data_of(sample(served, label_ids=[0], count=5, seed=seed)) for seed in set(seeds)}

    with ThreadPoolExecutor(len(seeds)) as callers:
        at_once = list(callers.map(lambda seed: data_of(sample(served, label_ids=[0], count=5, seed=seed)), seeds))

    assert at_once == [alone[seed] for seed in seeds]


def test_stream_gives_the_bytes_of_sample_in_order(served: Served) -> None:
    request = SampleRequest(model="rgb", each_class=True, count=30, seed=9)

    streamed = list(served.generation.SampleStream(generation_pb2.SampleStreamRequest(sample=request)))

    assert [response.index for response in streamed] == list(range(90))
    assert [response.image for response in streamed] == list(served.generation.Sample(request).images)


@pytest.mark.torchserve
@pytest.mark.parametrize("model", ["grey", "rgb"])
@pytest.mark.parametrize("image_format", [IMAGE_FORMAT_PNG, IMAGE_FORMAT_JPEG, IMAGE_FORMAT_WEBP, IMAGE_FORMAT_RAW])
def test_bytes_are_the_same_through_every_backend(
    gateways: Callable[[str], Served], model: str, image_format: "generation_pb2.ImageFormat.ValueType"
) -> None:
    fields: dict[str, Any] = {"each_class": True, "count": 25, "seed": 77, "truncation": 0.7, "format": image_format}

    embedded, torchserve = (sample(gateways(name), model, **fields) for name in ("embedded", "torchserve"))

    assert embedded == torchserve
    assert len(set(data_of(embedded))) == 75


def test_every_picture_tells_what_made_it(served: Served) -> None:
    loaded = served.models.GetModel(models_pb2.GetModelRequest(model="rgb")).model

    response = sample(served, "rgb", label_names=["square", "circle"], seed=LARGEST_SEED, truncation=0.5)

    assert response.seed == LARGEST_SEED
    for image, seed, label in zip(response.images, [LARGEST_SEED, 0], [1, 0], strict=True):
        assert (image.seed, image.label_id, image.label_name) == (seed, label, CLASS_NAMES[label])
        assert (image.model, image.version, image.digest) == ("rgb", "2.0.0", loaded.digest)
        assert (image.truncation, image.execution) == (0.5, "cpu-float32-eager")
        encoded = image.encoded
        assert (encoded.width, encoded.height, encoded.channels) == (WIDTH, HEIGHT, 3)
        assert encoded.format == IMAGE_FORMAT_PNG
        assert Image.open(io.BytesIO(encoded.data)).text == {  # type: ignore[attr-defined]
            "gantry:model": "rgb",
            "gantry:version": "2.0.0",
            "gantry:digest": loaded.digest,
            "gantry:execution": image.execution,
            "gantry:seed": str(seed),
            "gantry:label_id": str(label),
            "gantry:label_name": CLASS_NAMES[label],
            "gantry:truncation": "0.5",
        }


@pytest.mark.parametrize(("model", "channels"), [("grey", 1), ("rgb", 3)])
def test_formats_hold_the_same_picture(served: Served, model: str, channels: int) -> None:
    def encoded(image_format: "generation_pb2.ImageFormat.ValueType", **fields: Any) -> bytes:
        (data,) = data_of(sample(served, model, label_ids=[0], seed=3, format=image_format, **fields))
        return data

    exact = np.frombuffer(encoded(IMAGE_FORMAT_RAW), np.uint8).reshape(HEIGHT, WIDTH, channels)
    png, webp = pixels_of(encoded(IMAGE_FORMAT_PNG)), pixels_of(encoded(IMAGE_FORMAT_WEBP, quality=100))
    assert (png.reshape(exact.shape) == exact).all()
    # WEBP has no grey: it comes back as RGB with equal channels.
    assert (webp[:, :, :channels] == exact).all()
    jpeg = encoded(IMAGE_FORMAT_JPEG, quality=95)
    assert pixels_of(jpeg).shape[:2] == (HEIGHT, WIDTH)
    assert jpeg != encoded(IMAGE_FORMAT_JPEG, quality=5)


def test_grid_holds_the_pictures_it_stands_for(served: Served) -> None:
    fields: dict[str, Any] = {"each_class": True, "count": 4, "seed": 21}
    singles = [pixels_of(data) for data in data_of(sample(served, **fields))]

    response = sample(served, grid=GridOptions(gap=3), **fields)

    sheet = pixels_of(response.grid.data)
    assert (response.grid.width, response.grid.height) == (4 * WIDTH + 3 * 3, 3 * HEIGHT + 2 * 3)
    assert sheet.shape == (response.grid.height, response.grid.width)
    for index, single in enumerate(singles):
        top, left = index // 4 * (HEIGHT + 3), index % 4 * (WIDTH + 3)
        assert (sheet[top : top + HEIGHT, left : left + WIDTH] == single).all()
    assert [image.label_id for image in response.images] == [0] * 4 + [1] * 4 + [2] * 4
    assert not any(data_of(response))


def test_version_is_the_newest_unless_one_is_named(served: Served) -> None:
    newest, named, older = (sample(served, seed=1, version=version) for version in ("", "1.10.0", "1.9.0"))

    assert newest == named
    assert older.images[0].version == "1.9.0"
    assert data_of(older) != data_of(newest)


def test_seed_is_picked_and_told_where_none_is_given(served: Served) -> None:
    picked = sample(served, count=3)

    assert [image.seed for image in picked.images] == [picked.seed + index for index in range(3)]
    assert sample(served, count=3, seed=picked.seed) == picked
    assert sample(served, count=3).seed != picked.seed


def test_truncation_0_leaves_only_the_class(served: Served) -> None:
    def pictures(label: int) -> set[bytes]:
        return set(data_of(sample(served, label_ids=[label], count=5, seed=1, truncation=0.0, format=IMAGE_FORMAT_RAW)))

    assert len(pictures(0)) == len(pictures(1)) == 1
    assert pictures(0) != pictures(1)


def test_labels_by_id_and_by_name_mean_the_same(served: Served) -> None:
    by_id = sample(served, label_ids=[2, 0, 1], seed=4)

    assert by_id == sample(served, label_names=["three words here", "circle", "square"], seed=4)
    assert [image.label_id for image in by_id.images] == [2, 0, 1]


def test_labels_are_drawn_from_the_seeds_where_none_is_given(served: Served) -> None:
    drawn = sample(served, count=60, seed=0)

    assert {image.label_id for image in drawn.images} == {0, 1, 2}
    assert sample(served, seed=17).images[0] == drawn.images[17]


def test_codes_are_set_by_id_and_name_and_the_rest_is_drawn(served: Served) -> None:
    by_id = [CodeValue(code="k1", index=2), CodeValue(code="c1", number=0.3)]
    by_name = [CodeValue(code="slant", number=0.3), CodeValue(code="shape", name="long")]

    response = sample(served, "codes", codes=by_id, count=20, seed=4)

    assert response == sample(served, "codes", codes=by_name, count=20, seed=4)
    for image in response.images:
        assert list(image.codes[:2]) == by_id
        assert (image.codes[2].code, image.label_id, image.label_name) == ("c2", 0, "")
    assert len({image.codes[2].number for image in response.images}) == 20


def test_a_picture_comes_again_from_its_own_seed_and_codes(served: Served) -> None:
    drawn = sample(served, "codes", count=30, seed=100, truncation=0.8)

    assert {image.codes[0].index for image in drawn.images} == {0, 1, 2}
    for image in drawn.images[::7]:
        (again,) = sample(served, "codes", codes=image.codes, seed=image.seed, truncation=0.8).images
        assert again == image


def test_every_code_changes_the_picture(served: Served) -> None:
    for codes in (
        [CodeValue(code="k1", index=index) for index in range(3)],
        [CodeValue(code="c1", number=number) for number in (-1.0, 0.0, 1.0)],
        [CodeValue(code="c2", number=number) for number in (-1.0, 0.0, 1.0)],
    ):
        pictures = [sample(served, "codes", codes=[code], seed=1, format=IMAGE_FORMAT_RAW) for code in codes]
        assert len({data_of(picture)[0] for picture in pictures}) == 3
