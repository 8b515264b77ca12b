"""Requests to work: every violation names its field, and nothing but a violation comes of a bad request."""

import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gantry.v1 import generation_pb2, models_pb2
from services.gateway.errors import InvalidRequestError
from services.gateway.planning.output import DEFAULT_GAP, DEFAULT_QUALITY, Limits
from services.gateway.planning.sample import SamplePlan, plan_sample
from services.worker.latents import draw_attribute, draw_category, draw_label, draw_number
from tests.services.gateway.cards import code_card, face_card, limits_of, mixed_card, plain_card, tiny_card

LIMITS = limits_of(max_images=20)
PNG, RAW = generation_pb2.IMAGE_FORMAT_PNG, generation_pb2.IMAGE_FORMAT_RAW
JPEG, WEBP = generation_pb2.IMAGE_FORMAT_JPEG, generation_pb2.IMAGE_FORMAT_WEBP


def request(**fields: Any) -> generation_pb2.SampleRequest:
    return generation_pb2.SampleRequest(model="tiny", **fields)


def labels(**fields: Any) -> list[int]:
    plan = plan_sample(request(**fields), tiny_card(), LIMITS)
    assert [list(item.generate.condition).index(1.0) for item in plan.items] == [i.label_id for i in plan.images]
    return [image.label_id for image in plan.images]


def violations(limits: Limits = LIMITS, *, streamed: bool = False, **fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequestError) as error:
        plan_sample(request(**fields), tiny_card(), limits, streamed=streamed)
    return [(violation.field, violation.description) for violation in error.value.violations]


def test_defaults() -> None:
    plan = plan_sample(request(), tiny_card(), LIMITS)
    assert plan.grid is None
    (item,) = plan.items
    work = item.generate
    assert (work.seed, work.truncation, item.format, item.quality) == (plan.seed, 1.0, PNG, DEFAULT_QUALITY)
    assert plan.images[0].label_id == draw_label(plan.seed, 3)


def test_the_server_picks_a_seed_below_2_to_32_each_time_anew() -> None:
    seeds = {plan_sample(request(), tiny_card(), LIMITS).seed for _ in range(20)}
    assert len(seeds) > 15
    assert max(seeds) < 1 << 32


def test_seed_zero_is_a_seed() -> None:
    assert plan_sample(request(seed=0), tiny_card(), LIMITS).seed == 0


def test_seeds_count_up_and_wrap() -> None:
    plan = plan_sample(request(seed=2**64 - 2, count=4), tiny_card(), LIMITS)
    assert [item.generate.seed for item in plan.items] == [2**64 - 2, 2**64 - 1, 0, 1]
    assert plan.seed == 2**64 - 2


def test_settings_reach_every_item() -> None:
    plan = plan_sample(request(count=3, truncation=0.25, format=WEBP, quality=100), tiny_card(), LIMITS)
    assert {(item.generate.truncation, item.format, item.quality) for item in plan.items} == {(0.25, WEBP, 100)}


def test_truncation_zero_is_not_the_default() -> None:
    assert plan_sample(request(truncation=0.0), tiny_card(), LIMITS).items[0].generate.truncation == 0.0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"label_ids": [2]}, [2]),
        ({"label_ids": [2], "count": 3}, [2, 2, 2]),
        ({"label_ids": [2, 0, 2]}, [2, 0, 2]),
        ({"label_ids": [2, 0], "count": 2}, [2, 0]),
        ({"label_names": ["three words here", "circle"]}, [2, 0]),
        ({"label_names": ["square"], "count": 2}, [1, 1]),
        ({"each_class": True}, [0, 1, 2]),
        ({"each_class": True, "count": 3}, [0, 0, 0, 1, 1, 1, 2, 2, 2]),
    ],
)
def test_labels(fields: dict[str, Any], expected: list[int]) -> None:
    assert labels(**fields) == expected


def test_labels_that_are_not_given_are_drawn_from_each_images_seed() -> None:
    drawn = labels(seed=5, count=20)
    assert drawn == [draw_label(5 + index, 3) for index in range(20)]
    assert set(drawn) == {0, 1, 2}
    assert labels(seed=9, count=2) == drawn[4:6]


@pytest.mark.parametrize(
    ("fields", "columns"),
    [
        ({"count": 1}, 1),
        ({"count": 4}, 2),
        ({"count": 5}, 3),
        ({"count": 10}, 4),
        ({"each_class": True, "count": 5}, 5),
        ({"count": 7, "columns": 2}, 2),
        ({"count": 3, "columns": 100}, 3),
    ],
)
def test_columns_of_a_grid(fields: dict[str, Any], columns: int) -> None:
    options = {"columns": fields.pop("columns")} if "columns" in fields else {}
    sample = request(**fields, format=JPEG, quality=50, grid=generation_pb2.GridOptions(**options))
    plan = plan_sample(sample, tiny_card(), LIMITS)
    assert plan.grid is not None
    assert (plan.grid.columns, plan.grid.gap, plan.grid.encoding.format, plan.grid.encoding.quality) == (
        columns,
        DEFAULT_GAP,
        JPEG,
        50,
    )
    assert {item.format for item in plan.items} == {RAW}


def test_a_grid_may_have_no_gap() -> None:
    plan = plan_sample(request(grid=generation_pb2.GridOptions(gap=0)), tiny_card(), LIMITS)
    assert plan.grid is not None
    assert plan.grid.gap == 0


@pytest.mark.parametrize(
    ("fields", "field", "description"),
    [
        ({"count": 0}, "count", "must be 1 to 20, got 0"),
        ({"count": 21}, "count", "at most 20 images, got 21"),
        ({"count": 2**32 - 1}, "count", "at most 20 images, got 4294967295"),
        ({"count": 7, "each_class": True}, "count", "at most 20 images, got 7 for each of 3 classes"),
        ({"label_ids": [0] * 21}, "count", "at most 20 images, got 21"),
        ({"label_ids": [0, 1], "count": 3}, "count", "must be 2, the number of labels"),
        ({"label_ids": [0, 1], "count": 1}, "count", "must be 2, the number of labels"),
        ({"label_ids": [0, 3]}, "label_ids[1]", "model tiny has no class 3; its classes: 0 'circle', 1 'square', 2 "),
        ({"label_names": ["Circle"]}, "label_names[0]", "no class 'Circle'; its classes: 0 'circle', 1 'square'"),
        ({"label_names": [""]}, "label_names[0]", "no class ''"),
        ({"label_ids": [0], "label_names": ["circle"]}, "label_names", "at most one of"),
        ({"label_ids": [0], "each_class": True}, "each_class", "at most one of"),
        ({"label_names": ["circle"], "each_class": True}, "each_class", "at most one of"),
        ({"truncation": -0.01}, "truncation", "must be 0 to 1, got -0.01"),
        ({"truncation": 1.01}, "truncation", "must be 0 to 1, got 1.01"),
        ({"truncation": math.nan}, "truncation", "must be 0 to 1, got nan"),
        ({"truncation": math.inf}, "truncation", "must be 0 to 1, got inf"),
        ({"format": 99}, "format", "99 is not supported; allowed: PNG, JPEG, WEBP, RAW"),
        ({"quality": 50}, "quality", "only JPEG and WEBP have a quality"),
        ({"quality": 50, "format": RAW}, "quality", "only JPEG and WEBP have a quality"),
        ({"quality": 0, "format": JPEG}, "quality", "must be 1 to 100, got 0"),
        ({"quality": 101, "format": WEBP}, "quality", "must be 1 to 100, got 101"),
        ({"grid": generation_pb2.GridOptions(columns=0)}, "grid.columns", "must be at least 1, got 0"),
        ({"grid": generation_pb2.GridOptions(gap=65)}, "grid.gap", "must be 0 to 64, got 65"),
    ],
)
def test_a_violation_names_its_field(fields: dict[str, Any], field: str, description: str) -> None:
    ((named, text),) = violations(**fields)
    assert named == field
    assert description in text


def test_the_fields_of_a_stream_lie_in_its_sample() -> None:
    told = violations(count=0, label_ids=[7], truncation=2, streamed=True)
    assert [field for field, _ in told] == ["sample.count", "sample.label_ids[0]", "sample.truncation"]


def test_a_stream_has_no_grid() -> None:
    ((field, description),) = violations(grid=generation_pb2.GridOptions(), streamed=True)
    assert (field, description) == ("sample.grid", "not allowed in a stream; use Sample")


def test_all_violations_are_told_at_once() -> None:
    told = violations(count=0, label_ids=[7], truncation=2, format=99, grid=generation_pb2.GridOptions(gap=99))
    assert [field for field, _ in told] == ["count", "label_ids[0]", "truncation", "format", "grid.gap"]


def test_a_violation_fits_into_a_header_however_much_is_wrong() -> None:
    card = tiny_card()
    del card.classes[:]
    card.classes.extend(models_pb2.ClassInfo(id=index, name=f"class {index}") for index in range(1000))
    sample = request(label_ids=range(5000, 6000), label_names=["x" * 10_000] * 1000)
    with pytest.raises(InvalidRequestError) as error:
        plan_sample(sample, card, limits_of(10_000, 1 << 30))
    assert len(str(error.value)) < 2000
    assert "(1000 in all)" in str(error.value)


def test_an_answer_that_would_be_too_large_is_refused_unless_streamed() -> None:
    small = limits_of(max_images=1000, max_response_bytes=65_536)
    ((field, description),) = violations(small, count=1000)
    assert field == "count"
    assert "use SampleStream" in description
    assert len(plan_sample(request(count=1000), tiny_card(), small, streamed=True).items) == 1000


def test_the_whole_sheet_of_a_grid_counts() -> None:
    """Eleven tiles in ten columns fill twenty places, and gaps are pixels too."""
    card = tiny_card()
    card.image.width = card.image.height = 1000
    limits = limits_of(max_images=100, max_response_bytes=12_000_000)
    grid = generation_pb2.GridOptions(columns=10)
    assert plan_sample(request(count=10, grid=grid), card, limits).grid
    with pytest.raises(InvalidRequestError, match="count"):
        plan_sample(request(count=11, grid=grid), card, limits)


@pytest.mark.parametrize(("image_format", "most"), [(WEBP, 16383), (JPEG, 65500)])
def test_a_sheet_beyond_what_its_format_holds_is_refused(image_format: int, most: int) -> None:
    card = tiny_card()
    card.image.width, card.image.height = 100, 1
    limits = limits_of(max_images=10_000, max_response_bytes=1 << 30)
    images = most // 100
    grid = generation_pb2.GridOptions(columns=10_000, gap=0)
    assert plan_sample(request(count=images, format=image_format, grid=grid), card, limits).grid
    with pytest.raises(InvalidRequestError, match=f"grid: .* at most {most} a side"):
        plan_sample(request(count=images + 1, format=image_format, grid=grid), card, limits)
    assert plan_sample(request(count=images + 1, format=PNG, grid=grid), card, limits).grid


def test_codes_reach_every_item_and_the_rest_is_drawn_from_each_seed() -> None:
    codes = [generation_pb2.CodeValue(code="slant", number=0.25), generation_pb2.CodeValue(code="k1", name="long")]
    plan = plan_sample(request(seed=5, count=3, codes=codes), code_card(), LIMITS)
    for index, (item, image) in enumerate(zip(plan.items, plan.images, strict=True)):
        drawn = draw_number(5 + index, 1, -2.0, 0.5)
        assert list(item.generate.condition) == [0.0, 0.0, 1.0, 0.25, drawn]
        assert image.codes == [
            generation_pb2.CodeValue(code="k1", index=2),
            generation_pb2.CodeValue(code="c1", number=0.25),
            generation_pb2.CodeValue(code="c2", number=drawn),
        ]
        assert (image.label_id, image.label_name) == (0, "")


def test_an_image_is_planned_again_from_its_seed_and_codes() -> None:
    first = plan_sample(request(seed=7), code_card(), LIMITS)
    again = plan_sample(request(seed=7, codes=first.images[0].codes), code_card(), LIMITS)
    assert again.items == first.items


@pytest.mark.parametrize(
    ("fields", "field", "description"),
    [
        ({"each_class": True}, "each_class", "model codes has no classes; its inputs: latent, k1 'shape', c1"),
        (
            {"label_ids": [0]},
            "label_ids[0]",
            "model codes has no classes; its inputs: latent, k1 'shape', c1 'slant', c2",
        ),
        ({"label_names": ["round"]}, "label_names[0]", "model codes has no classes"),
    ],
)
def test_classes_of_a_model_without_classes_are_refused(fields: dict[str, Any], field: str, description: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        plan_sample(request(**fields), code_card(), LIMITS)
    ((named, text),) = error.value.violations
    assert named == field
    assert description in text


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"label_ids": [0]}, "label_ids[0]"),
        ({"label_names": ["a"]}, "label_names[0]"),
        ({"each_class": True}, "each_class"),
    ],
)
def test_a_model_of_latents_alone_refuses_classes(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        plan_sample(request(**fields), plain_card(), LIMITS)
    assert error.value.violations == ((field, "model plain has no classes; its inputs: latent"),)


def test_a_model_of_latents_alone_makes_pictures_from_seeds() -> None:
    plan = plan_sample(request(seed=5, count=3), plain_card(), LIMITS)
    assert [(item.generate.seed, list(item.generate.condition)) for item in plan.items] == [(5, []), (6, []), (7, [])]
    assert plan.images[0] == generation_pb2.Image(seed=5, truncation=1.0)
    assert [fact.key for fact in plan.items[0].facts] == ["gantry:seed", "gantry:truncation"]


def test_attributes_reach_every_item_and_the_rest_is_drawn_from_each_seed() -> None:
    sample = request(seed=5, count=3, attributes={"smile": 0.25}, grid=generation_pb2.GridOptions())
    plan = plan_sample(sample, face_card(), LIMITS)
    ages = [draw_attribute(5 + index, 1, 18.0, 80.0) for index in range(3)]
    assert len(set(ages)) == 3
    assert [list(item.generate.condition) for item in plan.items] == [[0.25, age] for age in ages]
    assert [dict(image.attributes) for image in plan.images] == [{"smile": 0.25, "age": age} for age in ages]
    assert {fact.key: fact.value for fact in plan.items[0].facts}["gantry:attribute:smile"] == "0.25"
    sheet = {fact.key: fact.value for fact in plan.grid_facts()}
    assert sheet["gantry:attributes:smile"] == "0.25,0.25,0.25"
    told = [float(age) for age in sheet["gantry:attributes:age"].split(",")]
    assert [generation_pb2.CodeValue(number=age).number for age in told] == ages


def test_classes_and_attributes_go_together() -> None:
    plan = plan_sample(request(seed=1, each_class=True, attributes={"age": 40}), mixed_card(), LIMITS)
    assert [list(item.generate.condition)[2:] for item in plan.items] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert {item.generate.condition[0] for item in plan.items} == {40.0}


def test_the_path_of_an_attribute_of_a_stream_lies_in_its_sample() -> None:
    with pytest.raises(InvalidRequestError) as error:
        plan_sample(request(attributes={"smile": 3}), face_card(), LIMITS, streamed=True)
    assert error.value.violations == (('sample.attributes["smile"]', "must be 0 to 1, got 3"),)


def test_what_a_png_and_a_grid_tell() -> None:
    sample = request(seed=3, count=2, truncation=0.5, grid=generation_pb2.GridOptions(),
                    codes=[generation_pb2.CodeValue(code="c1", number=0.1)])  # fmt: skip
    plan = plan_sample(sample, code_card(), LIMITS)
    k1, c2 = draw_category(3, 0, 3), plan.images[0].codes[2].number
    told = {fact.key: fact.value for fact in plan.items[0].facts}
    assert told == {
        "gantry:seed": "3",
        "gantry:code:k1": str(k1),
        "gantry:code:c1": "0.1",
        "gantry:code:c2": told["gantry:code:c2"],
        "gantry:truncation": "0.5",
    }
    assert generation_pb2.CodeValue(number=float(told["gantry:code:c2"])).number == c2
    sheet = {fact.key: fact.value for fact in plan.grid_facts()}
    assert sheet["gantry:codes:k1"] == f"{k1},{draw_category(4, 0, 3)}"
    assert sheet["gantry:codes:c1"] == "0.1,0.1"
    assert "gantry:labels" not in sheet


_REQUESTS = st.builds(
    generation_pb2.SampleRequest,
    model=st.text(max_size=5),
    label_ids=st.lists(st.integers(0, 5) | st.integers(0, 2**32 - 1), max_size=4),
    label_names=st.lists(st.sampled_from(["circle", "square"]) | st.text(max_size=5), max_size=4),
    each_class=st.booleans(),
    count=st.none() | st.integers(0, 25) | st.integers(0, 2**32 - 1),
    seed=st.none() | st.integers(0, 2**64 - 1),
    truncation=st.none() | st.floats(width=32),
    format=st.integers(0, 6) | st.integers(-(2**31), 2**31 - 1),
    quality=st.none() | st.integers(0, 120) | st.integers(0, 2**32 - 1),
    codes=st.lists(
        st.builds(generation_pb2.CodeValue, code=st.sampled_from(["k1", "c1", "slant", ""]), index=st.integers(0, 5))
        | st.builds(generation_pb2.CodeValue, code=st.sampled_from(["c1", "c2"]), number=st.floats(width=32)),
        max_size=3,
    ),
    attributes=st.dictionaries(st.sampled_from(["smile", "age", ""]), st.floats(width=32), max_size=2),
    grid=st.none()
    | st.builds(
        generation_pb2.GridOptions,
        columns=st.none() | st.integers(0, 30) | st.integers(0, 2**32 - 1),
        gap=st.none() | st.integers(0, 70) | st.integers(0, 2**32 - 1),
    ),
)


@settings(max_examples=400, deadline=None)
@given(
    asked=_REQUESTS,
    card=st.sampled_from([tiny_card(), code_card(), plain_card(), face_card(), mixed_card()]),
    streamed=st.booleans(),
)
@example(
    asked=generation_pb2.SampleRequest(count=0, grid=generation_pb2.GridOptions(columns=0)),
    card=tiny_card(),
    streamed=False,
)
def test_any_request_is_work_or_a_violation(
    asked: generation_pb2.SampleRequest, card: models_pb2.ModelCard, streamed: bool
) -> None:
    try:
        plan = plan_sample(asked, card, LIMITS, streamed=streamed)
    except InvalidRequestError as refusal:
        faults = refusal.violations
    else:
        faults = []
        check_plan(plan, streamed=streamed)
    assert all(field and description for field, description in faults)


def check_plan(plan: SamplePlan, *, streamed: bool) -> None:
    assert 1 <= len(plan.items) <= LIMITS.max_images
    for index, item in enumerate(plan.items):
        assert item.generate.seed == plan.images[index].seed == (plan.seed + index) % 2**64
        assert len(item.generate.condition) in (3, 5, 0, 2)
        assert 0 <= item.generate.truncation <= 1
    assert plan.grid is None or not streamed


def test_more_labels_than_images_are_not_even_read() -> None:
    """Millions of them would take seconds and gigabytes."""
    assert [field for field, _ in violations(label_ids=[99] * 1000, count=1)] == ["count"]
