"""A picture to translate: which way, how encoded, and refused by its header before anything runs."""

from typing import Any

import pytest

from gantry.v1 import generation_pb2, models_pb2, worker_pb2
from gantry.v1.generation_pb2 import (
    DIRECTION_A_TO_B,
    DIRECTION_B_TO_A,
    IMAGE_FORMAT_JPEG,
    IMAGE_FORMAT_PNG,
    IMAGE_FORMAT_WEBP,
    EncodedImage,
    TranslateRequest,
)
from services.gateway.errors import InvalidRequestError, ItemFailedError
from services.gateway.planning.output import Limits
from services.gateway.planning.translate import TranslatePlan, plan_translate, shape_answer
from services.worker.decoding import ImageTooLargeError
from tests.pictures import picture
from tests.services.gateway.cards import limits_of, one_way_card, translation_card

LIMITS = limits_of(max_image_pixels=10_000)
LOADED = models_pb2.LoadedModel(card=translation_card(), digest="d" * 64)


def plan(limits: Limits = LIMITS, *, streamed: bool = False, **fields: Any) -> TranslatePlan:
    asked = {"direction": DIRECTION_A_TO_B, "image": picture()} | fields
    return plan_translate(TranslateRequest(**asked), LOADED.card, limits, streamed=streamed)


def violations(limits: Limits = LIMITS, *, streamed: bool = False, **fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequestError) as error:
        plan(limits, streamed=streamed, **fields)
    return [(violation.field, violation.description) for violation in error.value.violations]


@pytest.mark.parametrize(
    ("given", "direction", "domains"),
    [
        ({"direction": DIRECTION_A_TO_B}, DIRECTION_A_TO_B, ("horse", "zebra")),
        ({"direction": DIRECTION_B_TO_A}, DIRECTION_B_TO_A, ("zebra", "horse")),
        ({"direction": 0, "source_domain": "horse"}, DIRECTION_A_TO_B, ("horse", "zebra")),
        ({"direction": 0, "source_domain": "zebra"}, DIRECTION_B_TO_A, ("zebra", "horse")),
        ({"direction": 0, "target_domain": "horse"}, DIRECTION_B_TO_A, ("zebra", "horse")),
        ({"direction": 0, "target_domain": "zebra"}, DIRECTION_A_TO_B, ("horse", "zebra")),
        ({"source_domain": "horse", "target_domain": "zebra"}, DIRECTION_A_TO_B, ("horse", "zebra")),
    ],
)
def test_direction_and_domains_tell_the_same(given: dict[str, Any], direction: int, domains: tuple[str, str]) -> None:
    planned = plan(**given)
    assert planned.item.translate.direction == planned.answer.direction == direction
    assert (planned.answer.source_domain, planned.answer.target_domain) == domains


@pytest.mark.parametrize(
    "given", [{}, {"direction": DIRECTION_B_TO_A}, {"source_domain": "zebra"}, {"target_domain": "horse"}]
)
def test_a_model_of_one_way_goes_it_without_being_told(given: dict[str, Any]) -> None:
    planned = plan_translate(TranslateRequest(image=picture(), **given), one_way_card(), LIMITS)
    assert planned.item.translate.direction == planned.answer.direction == DIRECTION_B_TO_A
    assert (planned.answer.source_domain, planned.answer.target_domain) == ("zebra", "horse")


ONE_WAY = "model zebra2horse translates from 'zebra' (B) to 'horse' (A)"


@pytest.mark.parametrize(
    ("given", "field", "description"),
    [
        ({"direction": DIRECTION_A_TO_B}, "direction", f"not possible; {ONE_WAY}"),
        ({"source_domain": "horse"}, "source_domain", f"not possible; {ONE_WAY}"),
        ({"target_domain": "zebra"}, "target_domain", f"not possible; {ONE_WAY}"),
        ({"source_domain": "zebra", "target_domain": "zebra"}, "target_domain", f"not possible; {ONE_WAY}"),
        ({"source_domain": "cow"}, "source_domain", f"'cow' is not known; {ONE_WAY}"),
        ({"cycle": True}, "cycle", f"must be false: {ONE_WAY}, and not back"),
    ],
)
def test_a_model_of_one_way_refuses_the_other(given: dict[str, Any], field: str, description: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        plan_translate(TranslateRequest(image=picture(), **given), one_way_card(), LIMITS)
    assert error.value.violations == ((field, description),)


def test_everything_reaches_the_worker() -> None:
    image = picture()
    planned = plan(image=image, max_side=16, cycle=True, format=IMAGE_FORMAT_WEBP, quality=77)
    assert planned.item == worker_pb2.WorkItem(
        translate=worker_pb2.TranslateWork(
            image=image,
            direction=DIRECTION_A_TO_B,
            max_side=16,
            cycle=True,
            max_pixels=10_000,
            pixels=20 * 16,
            graph_pixels=16 * 16,
        ),
        format=IMAGE_FORMAT_WEBP,
        quality=77,
        facts=[
            worker_pb2.Fact(key="gantry:source_domain", value="horse"),
            worker_pb2.Fact(key="gantry:target_domain", value="zebra"),
            worker_pb2.Fact(key="gantry:max_side", value="16"),
        ],
    )


def test_a_picture_that_is_long_and_thin_still_costs_something() -> None:
    planned = plan(limits_of(max_image_pixels=1_000_000), image=picture(10_000, 16), max_side=16)
    assert planned.item.translate.graph_pixels == 16 * 16, "no side becomes shorter"


def test_defaults() -> None:
    item = plan().item
    assert (item.format, item.translate.max_side, item.translate.cycle) == (IMAGE_FORMAT_PNG, 0, False)
    assert [fact.key for fact in item.facts] == ["gantry:source_domain", "gantry:target_domain"]


DOMAINS = "model horse2zebra translates between 'horse' (A) and 'zebra' (B)"


@pytest.mark.parametrize(
    ("fields", "field", "description"),
    [
        ({"direction": 0}, "direction", f"give direction, source_domain or target_domain; {DOMAINS}"),
        ({"direction": 7}, "direction", f"7 is not known; {DOMAINS}"),
        ({"source_domain": "cow"}, "source_domain", f"'cow' is not known; {DOMAINS}"),
        ({"direction": 0, "target_domain": "Zebra"}, "target_domain", f"'Zebra' is not known; {DOMAINS}"),
        ({"source_domain": "zebra"}, "source_domain", f"contradicts direction; {DOMAINS}"),
        ({"target_domain": "horse"}, "target_domain", f"contradicts direction; {DOMAINS}"),
        (
            {"direction": 0, "source_domain": "horse", "target_domain": "horse"},
            "target_domain",
            f"contradicts source_domain; {DOMAINS}",
        ),
        ({"image": b""}, "image", "required: a JPEG, PNG, WEBP, GIF or BMP file"),
        ({"image": b"no picture"}, "image", "not a JPEG, PNG, WEBP, GIF or BMP file"),
        ({"image": picture(15, 40)}, "image", "at least 16"),
        ({"image": picture(image_format="TIFF")}, "image", "not a JPEG, PNG, WEBP, GIF or BMP file"),
        ({"max_side": 15}, "max_side", "must be at least 16, got 15"),
        ({"max_side": 0}, "max_side", "must be at least 16, got 0"),
        ({"format": 99}, "format", "99 is not supported"),
        ({"format": IMAGE_FORMAT_JPEG, "quality": 0}, "quality", "must be 1 to 100, got 0"),
    ],
)
def test_a_violation_names_its_field(fields: dict[str, Any], field: str, description: str) -> None:
    ((named, told),) = violations(**fields)
    assert named == field
    assert description in told
    ((named, told),) = violations(streamed=True, **fields)
    assert named == f"translate.{field}"


def test_too_many_bytes_or_pixels_are_refused_with_the_limit() -> None:
    image = picture(100, 100)
    assert plan(image=image)
    with pytest.raises(ImageTooLargeError, match="101×100 = 10100 pixels; at most 10000"):
        plan(image=picture(101, 100))
    assert plan(limits_of(max_image_bytes=len(image)), image=image)
    with pytest.raises(ImageTooLargeError, match=f"more than {len(image) - 1} bytes"):
        plan(limits_of(max_image_bytes=len(image) - 1), image=image)


def test_an_answer_that_could_be_too_large_is_pointed_to_the_stream() -> None:
    image = picture(200, 150)
    limits = limits_of(max_response_bytes=150_000)
    assert plan(limits, image=image)
    ((field, told),) = violations(limits, image=image, cycle=True)
    assert field == "image"
    assert "the answer could take 184096 bytes, more than 150000; use TranslateStream" in told
    assert plan(limits, image=image, cycle=True, streamed=True)
    assert plan(limits, image=image, cycle=True, format=IMAGE_FORMAT_JPEG)
    assert violations(limits, image=image, cycle=True, format=IMAGE_FORMAT_JPEG, quality=96)


def test_a_side_beyond_what_the_format_holds_is_refused() -> None:
    image = picture(16_384, 16)
    limits = limits_of(max_image_pixels=1 << 20, max_image_bytes=1 << 24)
    assert plan(limits, image=image)
    ((field, told),) = violations(limits, image=image, format=IMAGE_FORMAT_WEBP)
    assert field == "format"
    assert "at most 16383 a side" in told


def test_the_answer_tells_what_made_it() -> None:
    image, cycled = EncodedImage(data=b"1", width=20), EncodedImage(data=b"2", width=20)
    result = worker_pb2.WorkResult(image=image, cycled=cycled, cycle_l1=0.0)
    assert shape_answer(plan(), LOADED, result, "cpu-float32-eager") == generation_pb2.TranslateResponse(
        image=image,
        cycled=cycled,
        cycle_l1=0.0,
        direction=DIRECTION_A_TO_B,
        source_domain="horse",
        target_domain="zebra",
        model="horse2zebra",
        version="1.0.0",
        digest="d" * 64,
        execution="cpu-float32-eager",
    )
    plain = shape_answer(plan(), LOADED, worker_pb2.WorkResult(image=image), "cpu-float32-eager")
    assert not plain.HasField("cycled")
    assert not plain.HasField("cycle_l1")


def test_what_the_worker_finds_wrong_is_told_to_the_one_at_fault() -> None:
    with pytest.raises(InvalidRequestError) as error:
        shape_answer(plan(streamed=True), LOADED, worker_pb2.WorkResult(bad_image="the picture is damaged"), "")
    assert error.value.violations == (("translate.image", "the picture is damaged"),)
    with pytest.raises(ItemFailedError, match="could not be translated: values that are not finite"):
        shape_answer(plan(), LOADED, worker_pb2.WorkResult(error="values that are not finite"), "")
