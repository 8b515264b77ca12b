"""Models without a condition, with attributes, and of one way: the same through every backend."""

import io
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from PIL import Image

from gantry.v1 import models_pb2
from gantry.v1.generation_pb2 import (
    DIRECTION_A_TO_B,
    DIRECTION_B_TO_A,
    IMAGE_FORMAT_RAW,
    Arithmetic,
    Axis,
    Condition,
    Frame,
    GridOptions,
    Interpolation,
    Range,
    SampleRequest,
    SampleResponse,
    Sweep,
    TranslateRequest,
    TranslateResponse,
    TraverseRequest,
)
from services.gateway.planning.scales import number_text
from tests.conformance.harness import Served, assert_invalid
from tests.pictures import picture


def sample(served: Served, model: str, **fields: Any) -> SampleResponse:
    response: SampleResponse = served.generation.Sample(SampleRequest(model=model, **fields))
    return response


def data_of(response: SampleResponse) -> list[bytes]:
    return [image.encoded.data for image in response.images]


def traverse(served: Served, model: str, **fields: Any) -> list[Frame]:
    return [response.frame for response in served.generation.Traverse(TraverseRequest(model=model, **fields))]


def translate(served: Served, **fields: Any) -> TranslateResponse:
    request = TranslateRequest(model="sketch2photo", image=picture(), **fields)
    response: TranslateResponse = served.generation.Translate(request)
    return response


@pytest.mark.parametrize(
    ("model", "kind", "inputs"),
    [
        ("plain", models_pb2.MODEL_KIND_UNCONDITIONAL, [["latent"]]),
        ("faces", models_pb2.MODEL_KIND_ATTRIBUTE_CONDITIONAL, [["latent", "smile", "age"]]),
        ("sketch2photo", models_pb2.MODEL_KIND_TRANSLATION, [["picture"]]),
        # Its archive lists no graphs.
        ("rgb", models_pb2.MODEL_KIND_CLASS_CONDITIONAL, [["latent", "class"]]),
    ],
)
def test_a_card_says_what_a_model_takes(served: Served, model: str, kind: int, inputs: list[list[str]]) -> None:
    card = served.models.GetModel(models_pb2.GetModelRequest(model=model)).model.card

    assert card.kind == kind
    assert [list(graph.inputs) for graph in card.graphs] == inputs


def test_a_model_of_latents_alone_makes_pictures_without_labels(served: Served) -> None:
    together = sample(served, "plain", count=20, seed=3)

    assert len(set(data_of(together))) == 20
    assert data_of(sample(served, "plain", seed=10)) == data_of(together)[7:8]
    image = together.images[0]
    assert (image.label_name, list(image.codes), dict(image.attributes)) == ("", [], {})
    assert not [key for key in facts_of(image.encoded.data) if "label" in key or "code" in key or "attribute" in key]
    assert len(sample(served, "plain", count=4, grid=GridOptions()).images) == 4


def test_a_model_of_latents_alone_is_walked_through(served: Served) -> None:
    frames = traverse(served, "plain", interpolation=Interpolation(from_seed=1, to_seed=2), format=IMAGE_FORMAT_RAW)

    assert len({frame.encoded.data for frame in frames}) == 9
    for frame, seed in ((frames[0], 1), (frames[-1], 2)):
        assert data_of(sample(served, "plain", seed=seed, format=IMAGE_FORMAT_RAW)) == [frame.encoded.data]
    assert len(traverse(served, "plain", arithmetic=Arithmetic(a=[1], b=[2], c=[3]))) == 4


def test_attributes_are_set_and_the_rest_is_drawn(served: Served) -> None:
    response = sample(served, "faces", attributes={"smile": 0.25}, count=20, seed=4)

    ages = [image.attributes["age"] for image in response.images]
    assert {image.attributes["smile"] for image in response.images} == {0.25}
    assert len(set(ages)) == 20
    assert all(18 <= age <= 80 for age in ages)
    facts = facts_of(response.images[0].encoded.data)
    assert (facts["gantry:attribute:smile"], facts["gantry:attribute:age"]) == ("0.25", number_text(ages[0]))


def test_a_picture_comes_again_from_its_own_seed_and_attributes(served: Served) -> None:
    drawn = sample(served, "faces", count=20, seed=100, truncation=0.8)

    for image in drawn.images[::7]:
        again = sample(served, "faces", attributes=image.attributes, seed=image.seed, truncation=0.8)
        assert list(again.images) == [image]


def test_an_attribute_is_swept(served: Served) -> None:
    sweep = Sweep(x=Axis(code="age", range=Range(start=20, end=80, steps=4)), seed=5)

    frames = traverse(served, "faces", sweep=sweep)

    assert [[(stop.axis, stop.value) for stop in frame.coordinates] for frame in frames] == [
        [("age", age)] for age in (20, 40, 60, 80)
    ]
    (held,) = sample(served, "faces", seed=5).images
    for frame, age in zip(frames, (20, 40, 60, 80), strict=True):
        attributes = {"age": age, "smile": held.attributes["smile"]}
        assert data_of(sample(served, "faces", seed=5, attributes=attributes)) == [frame.encoded.data]


def test_two_attributes_are_swept(served: Served) -> None:
    sweep = Sweep(x=Axis(code="smile", values=[0, 0.5, 1]), y=Axis(code="age", values=[20, 70]), seed=5)

    frames = traverse(served, "faces", sweep=sweep)

    assert [[stop.value for stop in frame.coordinates] for frame in frames] == [
        [smile, age] for age in (20, 70) for smile in (0, 0.5, 1)
    ]
    assert len({frame.encoded.data for frame in frames}) == 6


def test_an_interpolation_mixes_attributes(served: Served) -> None:
    path = Interpolation(
        from_seed=1,
        to_seed=1,
        from_condition=Condition(attributes={"smile": 0, "age": 20}),
        to_condition=Condition(attributes={"smile": 1, "age": 60}),
        steps=3,
    )

    _, middle, _ = traverse(served, "faces", interpolation=path, format=IMAGE_FORMAT_RAW)

    expected = sample(served, "faces", seed=1, attributes={"smile": 0.5, "age": 40}, format=IMAGE_FORMAT_RAW)
    assert data_of(expected) == [middle.encoded.data]


@pytest.mark.parametrize(
    ("model", "fields", "field", "description"),
    [
        ("faces", {"attributes": {"smile": 3}}, 'attributes["smile"]', "must be 0 to 1, got 3"),
        ("faces", {"attributes": {"beard": 1}}, 'attributes["beard"]', "its attributes: smile 0 to 1, age 18 to 80"),
        ("faces", {"label_ids": [0]}, "label_ids[0]", "no classes; its inputs: latent, smile, age"),
        ("plain", {"attributes": {"smile": 1}}, "attributes", "no attributes; its inputs: latent"),
        ("plain", {"each_class": True}, "each_class", "no classes; its inputs: latent"),
        ("grey", {"attributes": {"smile": 1}}, "attributes", "no attributes; its inputs: latent, class"),
    ],
)
def test_what_a_model_does_not_take_is_refused(
    served: Served, model: str, fields: dict[str, Any], field: str, description: str
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        sample(served, model, **fields)

    assert_invalid(raised.value, field, description)


def test_a_sweep_of_a_model_without_axes_is_refused(served: Served) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        traverse(served, "plain", sweep=Sweep(x=Axis(code="age")))

    assert_invalid(raised.value, "sweep.x.code", "its axes: none; use interpolation or arithmetic")


@pytest.mark.parametrize("fields", [{}, {"direction": DIRECTION_A_TO_B}, {"target_domain": "photo"}])
def test_a_model_of_one_way_translates_that_way(served: Served, fields: dict[str, Any]) -> None:
    response = translate(served, **fields)

    assert (response.direction, response.source_domain, response.target_domain) == (
        DIRECTION_A_TO_B,
        "sketch",
        "photo",
    )
    assert response.image == translate(served).image


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"direction": DIRECTION_B_TO_A}, "direction"),
        ({"source_domain": "photo"}, "source_domain"),
        ({"cycle": True}, "cycle"),
    ],
)
def test_a_model_of_one_way_refuses_the_other(served: Served, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        translate(served, **fields)

    assert_invalid(raised.value, field, "model sketch2photo translates from 'sketch' (A) to 'photo' (B)")


@pytest.mark.torchserve
def test_bytes_are_the_same_through_every_backend(gateways: Callable[[str], Served]) -> None:
    embedded, torchserve = gateways("embedded"), gateways("torchserve")

    for model in ("plain", "faces", "rgb"):
        assert sample(embedded, model, count=20, seed=7) == sample(torchserve, model, count=20, seed=7)
    assert translate(embedded) == translate(torchserve)


def facts_of(png: bytes) -> dict[str, str]:
    facts: dict[str, str] = Image.open(io.BytesIO(png)).text  # type: ignore[attr-defined]
    return facts
