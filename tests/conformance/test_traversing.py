"""Traverse: frames in order with their places, what they are assembled to, the same through every backend."""

import io
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from gantry.v1.generation_pb2 import (
    IMAGE_FORMAT_JPEG,
    IMAGE_FORMAT_PNG,
    IMAGE_FORMAT_RAW,
    IMAGE_FORMAT_WEBP,
    Animation,
    Arithmetic,
    Axis,
    CodeValue,
    Condition,
    EncodedImage,
    Frame,
    GridOptions,
    Interpolation,
    SampleRequest,
    Sweep,
    TraverseRequest,
)
from tests.conformance.harness import Served, assert_invalid, pixels_of

WIDTH, HEIGHT = 6, 8
SWEEP = Sweep(x=Axis(code="slant", values=[-1.0, 0.0, 1.0]), y=Axis(code="shape"), seed=11)
INTERPOLATION = Interpolation(from_seed=1, to_seed=2, steps=5)
ARITHMETIC = Arithmetic(a=[1, 2, 3], b=[4, 5, 6], c=[7, 8, 9], condition=Condition(label_name="square"))


def traverse(served: Served, model: str = "codes", **fields: Any) -> tuple[list[Frame], EncodedImage | None]:
    """The frames, and what came assembled after them."""
    *responses, last = served.generation.Traverse(TraverseRequest(model=model, **fields))
    assert all(response.WhichOneof("part") == "frame" for response in responses)
    if last.WhichOneof("part") == "frame":
        return [response.frame for response in (*responses, last)], None
    return [response.frame for response in responses], last.assembled


def test_a_frame_of_a_sweep_is_the_picture_that_sample_makes(served: Served) -> None:
    frames, _ = traverse(served, sweep=SWEEP, truncation=0.5)

    assert [(frame.index, frame.frames, frame.seed) for frame in frames] == [(index, 9, 11) for index in range(9)]
    assert len({frame.encoded.data for frame in frames}) == 9
    (held,) = served.generation.Sample(SampleRequest(model="codes", seed=11)).images
    for frame in frames:
        x, y = frame.coordinates
        assert (x.axis, y.axis, y.name) == ("c1", "k1", ("round", "square", "long")[int(y.value)])
        assert (x.value, y.value) == (frame.index % 3 - 1, frame.index // 3)
        codes = [CodeValue(code="c1", number=x.value), CodeValue(code="k1", index=int(y.value)), held.codes[2]]
        (image,) = served.generation.Sample(SampleRequest(model="codes", seed=11, codes=codes, truncation=0.5)).images
        assert frame.encoded == image.encoded
        assert (frame.model, frame.version, frame.digest) == (image.model, image.version, image.digest)
        assert frame.execution == image.execution == "cpu-float32-eager"


def test_classes_are_swept(served: Served) -> None:
    frames, _ = traverse(served, "rgb", sweep=Sweep(x=Axis(code="class"), seed=3))

    images = served.generation.Sample(SampleRequest(model="rgb", each_class=True, seed=3)).images
    assert frames[0].encoded == images[0].encoded
    assert [frame.coordinates[0].name for frame in frames] == [image.label_name for image in images]


def test_an_interpolation_begins_and_ends_with_ordinary_pictures(served: Served) -> None:
    path = Interpolation(
        from_seed=1, to_seed=2, from_condition=Condition(label_id=0), to_condition=Condition(label_id=2), steps=5
    )

    frames, _ = traverse(served, "rgb", interpolation=path, format=IMAGE_FORMAT_RAW)

    assert [frame.coordinates[0].value for frame in frames] == [0, 0.25, 0.5, 0.75, 1]
    assert len({frame.encoded.data for frame in frames}) == 5
    for frame, seed, label in ((frames[0], 1, 0), (frames[-1], 2, 2)):
        request = SampleRequest(model="rgb", seed=seed, label_ids=[label], format=IMAGE_FORMAT_RAW)
        assert frame.encoded == served.generation.Sample(request).images[0].encoded


def test_conditions_are_mixed_even_where_the_latent_stands_still(served: Served) -> None:
    path = Interpolation(
        from_seed=1, to_seed=1, from_condition=Condition(label_id=0), to_condition=Condition(label_id=1), steps=3
    )

    frames, _ = traverse(served, "rgb", interpolation=path, format=IMAGE_FORMAT_RAW)

    assert len({frame.encoded.data for frame in frames}) == 3


def test_arithmetic_adds_and_subtracts(served: Served) -> None:
    frames, _ = traverse(served, "grey", arithmetic=ARITHMETIC, format=IMAGE_FORMAT_RAW)
    assert [frame.coordinates[0].name for frame in frames] == ["a", "b", "c", "a - b + c"]
    assert len({frame.encoded.data for frame in frames}) == 4

    of_one, _ = traverse(
        served,
        "grey",
        arithmetic=Arithmetic(a=[5], b=[9], c=[9], condition=Condition(label_id=1)),
        format=IMAGE_FORMAT_RAW,
    )
    (image,) = served.generation.Sample(
        SampleRequest(model="grey", seed=5, label_ids=[1], format=IMAGE_FORMAT_RAW)
    ).images
    assert of_one[0].encoded == image.encoded
    # a − b + b is a but for the last digits.
    difference = np.frombuffer(of_one[3].encoded.data, np.uint8).astype(int) - np.frombuffer(
        image.encoded.data, np.uint8
    )
    assert abs(difference).max() <= 1


@pytest.mark.parametrize("image_format", [IMAGE_FORMAT_PNG, IMAGE_FORMAT_JPEG, IMAGE_FORMAT_WEBP, IMAGE_FORMAT_RAW])
def test_frames_are_the_same_whether_they_are_assembled_or_not(served: Served, image_format: int) -> None:
    alone, none = traverse(served, sweep=SWEEP, format=image_format)
    assert none is None

    for assembly in ({"grid": GridOptions()}, {"animation": Animation()}):
        frames, assembled = traverse(served, sweep=SWEEP, format=image_format, **assembly)
        assert frames == alone
        assert assembled is not None


def test_a_grid_holds_the_frames(served: Served) -> None:
    frames, grid = traverse(served, sweep=SWEEP, grid=GridOptions(gap=1))

    assert grid is not None
    sheet = pixels_of(grid.data)
    assert sheet.shape == (grid.height, grid.width) == (3 * HEIGHT + 2, 3 * WIDTH + 2)
    for frame in frames:
        top, left = frame.index // 3 * (HEIGHT + 1), frame.index % 3 * (WIDTH + 1)
        assert (sheet[top : top + HEIGHT, left : left + WIDTH] == pixels_of(frame.encoded.data)).all()
    told = Image.open(io.BytesIO(grid.data)).text  # type: ignore[attr-defined]
    assert told["gantry:digest"] == frames[0].digest
    assert (told["gantry:seed"], told["gantry:x"], told["gantry:y"]) == ("11", "c1: -1,0,1", "k1: 0,1,2")


@pytest.mark.parametrize(
    ("model", "path"), [("codes", {"interpolation": INTERPOLATION}), ("rgb", {"arithmetic": ARITHMETIC})]
)
def test_an_animation_holds_the_frames_there_and_back(served: Served, model: str, path: dict[str, Any]) -> None:
    animation = Animation(frame_milliseconds=40, back_and_forth=True)

    frames, film = traverse(served, model, format=IMAGE_FORMAT_PNG, animation=animation, **path)

    assert film is not None
    assert film.format == IMAGE_FORMAT_WEBP
    shown = Image.open(io.BytesIO(film.data))
    expected = [*frames, *frames[-2:0:-1]]
    assert shown.n_frames == len(expected)  # type: ignore[attr-defined]
    for place, frame in enumerate(expected):
        shown.seek(place)
        exact = np.asarray(Image.open(io.BytesIO(frame.encoded.data)).convert("RGB"))
        assert (np.asarray(shown.convert("RGB")) == exact).all()
        assert shown.info["duration"] == 40


@pytest.mark.torchserve
@pytest.mark.parametrize("model", ["grey", "codes"])
def test_bytes_are_the_same_through_every_backend(gateways: Callable[[str], Served], model: str) -> None:
    for path in (
        {"sweep": Sweep(x=Axis(code="class" if model == "grey" else "c2"), seed=1)},
        {"interpolation": INTERPOLATION},
        {"arithmetic": Arithmetic(a=[1], b=[2], c=[3])},
    ):
        embedded, torchserve = (
            traverse(gateways(name), model, grid=GridOptions(), **path) for name in ("embedded", "torchserve")
        )
        assert embedded == torchserve


@pytest.mark.parametrize(
    ("fields", "field", "description"),
    [
        ({}, "path", "sweep, interpolation or arithmetic"),
        ({"sweep": Sweep(x=Axis(code="c1", values=[2.0]))}, "sweep.x.values[0]", "must be -1 to 1, got 2"),
        ({"interpolation": Interpolation(from_seed=1)}, "interpolation.to_seed", "required"),
        ({"arithmetic": Arithmetic(a=[1], b=[1])}, "arithmetic.c", "1 to 256 seeds"),
        ({"sweep": SWEEP, "animation": Animation(frame_milliseconds=1)}, "animation.frame_milliseconds", "10 to 10000"),
    ],
)
def test_bad_field_is_named(served: Served, fields: dict[str, Any], field: str, description: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        traverse(served, **fields)

    assert_invalid(raised.value, field, description)
