"""Walks: sweeps, interpolations and arithmetic become frames in order, and every violation names its field."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.v1 import models_pb2, worker_pb2
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
    GridOptions,
    Interpolation,
    Range,
    Sweep,
    TraverseRequest,
)
from services.gateway.errors import InvalidRequestError
from services.gateway.planning.conditions import complete
from services.gateway.planning.output import GridPlan, Limits
from services.gateway.planning.traverse import AnimationPlan, TraversePlan, plan_traverse
from services.worker.inputs import condition_bounds
from tests.services.gateway.cards import code_card, face_card, limits_of, mixed_card, plain_card, tiny_card

LIMITS = limits_of(max_images=20)
X = Axis(code="c1")


def plan(card: models_pb2.ModelCard | None = None, limits: Limits = LIMITS, **fields: Any) -> TraversePlan:
    return plan_traverse(TraverseRequest(model="codes", **fields), card or code_card(), limits)


def violations(
    card: models_pb2.ModelCard | None = None, limits: Limits = LIMITS, **fields: Any
) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequestError) as error:
        plan(card, limits, **fields)
    return [(violation.field, violation.description) for violation in error.value.violations]


def coordinates(walk: TraversePlan) -> list[list[tuple[str, float, str]]]:
    return [[(stop.axis, stop.value, stop.name) for stop in frame.coordinates] for frame in walk.frames]


def values(walk: TraversePlan) -> list[float]:
    return [frame.coordinates[0].value for frame in walk.frames]


def conditions(walk: TraversePlan) -> list[list[float]]:
    return [list(item.generate.condition) for item in walk.items]


def text(facts: Any) -> dict[str, str]:
    return {fact.key: fact.value for fact in facts}


def test_a_continuous_code_takes_nine_steps_through_its_range() -> None:
    walk = plan(sweep=Sweep(x=Axis(code="slant"), seed=3))
    assert coordinates(walk)[0] == [("c1", -1.0, "")]
    assert values(walk) == [-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0]
    held = complete(code_card(), 3, {})
    for condition, value in zip(conditions(walk), values(walk), strict=True):
        assert condition == [*held.vector[:3], value, held.vector[4]]
    assert {item.generate.seed for item in walk.items} == {frame.seed for frame in walk.frames} == {3}
    assert [(frame.index, frame.frames) for frame in walk.frames] == [(index, 9) for index in range(9)]
    assert {item.generate.truncation for item in walk.items} == {1.0}


def test_a_categorical_code_takes_all_its_values_by_name() -> None:
    walk = plan(sweep=Sweep(x=Axis(code="k1")), truncation=0.5)
    assert coordinates(walk) == [[("k1", 0, "round")], [("k1", 1, "square")], [("k1", 2, "long")]]
    assert [condition[:3] for condition in conditions(walk)] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert {item.generate.truncation for item in walk.items} == {0.5}


def test_the_classes_are_an_axis() -> None:
    walk = plan(tiny_card(), sweep=Sweep(x=Axis(code="class", values=[2, 0]), seed=1))
    assert coordinates(walk) == [[("class", 2, "three words here")], [("class", 0, "circle")]]
    assert conditions(walk) == [[0, 0, 1], [1, 0, 0]]


def test_a_second_axis_moves_from_row_to_row() -> None:
    walk = plan(sweep=Sweep(x=Axis(code="c1", values=[0.5, -0.5, 0.0]), y=Axis(code="k1", values=[2, 1])))
    assert coordinates(walk) == [
        [("c1", x, ""), ("k1", y, name)] for y, name in ((2, "long"), (1, "square")) for x in (0.5, -0.5, 0.0)
    ]
    sheet = plan(sweep=Sweep(x=Axis(code="c1"), y=Axis(code="k1", values=[0, 1])), grid=GridOptions())
    assert isinstance(sheet.assembly, GridPlan)
    assert sheet.assembly.columns == 9


def test_a_range_may_run_down_and_meets_both_ends() -> None:
    walk = plan(sweep=Sweep(x=Axis(code="c2", range=Range(start=0.1, end=-1.7, steps=7))))
    expected = CodeValue(number=0.1).number, CodeValue(number=-1.7).number
    assert (values(walk)[0], values(walk)[-1]) == expected
    assert len(walk.items) == 7
    assert values(walk) == sorted(values(walk), reverse=True)


@given(start=st.floats(-2, 0.5, width=32), end=st.floats(-2, 0.5, width=32), steps=st.integers(2, LIMITS.max_images))
def test_steps_never_leave_the_range(start: float, end: float, steps: int) -> None:
    walk = plan(sweep=Sweep(x=Axis(code="c2", range=Range(start=start, end=end, steps=steps))))
    assert (values(walk)[0], values(walk)[-1], len(values(walk))) == (start, end, steps)
    assert all(min(start, end) <= value <= max(start, end) for value in values(walk))


def test_an_attribute_is_an_axis_by_its_name() -> None:
    walk = plan(face_card(), sweep=Sweep(x=Axis(code="age", range=Range(start=20, end=80, steps=4)), seed=2))
    assert coordinates(walk) == [[("age", age, "")] for age in (20, 40, 60, 80)]
    smile = complete(face_card(), 2, {}).attributes["smile"]
    assert conditions(walk) == [[smile, age] for age in (20, 40, 60, 80)]
    assert text(walk.items[0].facts)["gantry:attribute:age"] == "20"
    assert (text(walk.facts)["gantry:x"], "gantry:attribute:age" in text(walk.facts)) == ("age: 20,40,60,80", False)
    whole = plan(face_card(), sweep=Sweep(x=Axis(code="smile")))
    assert values(whole) == [index / 8 for index in range(9)]


def test_an_attribute_and_the_class_are_two_axes() -> None:
    held = Condition(codes=[CodeValue(code="c1", number=0)])
    sweep = Sweep(x=Axis(code="age", values=[20, 70]), y=Axis(code="class", values=[0, 2]), condition=held)
    assert conditions(plan(mixed_card(), sweep=sweep)) == [
        [age, 0, *label] for label in ([1, 0, 0], [0, 0, 1]) for age in (20, 70)
    ]


def test_held_attributes_are_held() -> None:
    held = Condition(attributes={"smile": 0.5})
    walk = plan(face_card(), sweep=Sweep(x=Axis(code="age", values=[20, 30]), condition=held), grid=GridOptions())
    assert conditions(walk) == [[0.5, 20], [0.5, 30]]
    assert text(walk.facts)["gantry:attribute:smile"] == "0.5"


def test_an_interpolation_mixes_attributes_linearly() -> None:
    ends = {"from_condition": {"smile": 0.0, "age": 20}, "to_condition": {"smile": 1.0, "age": 60}}
    path = Interpolation(
        from_seed=1, to_seed=2, steps=5, **{end: Condition(attributes=given) for end, given in ends.items()}
    )
    walk = plan(face_card(), interpolation=path)
    assert conditions(walk) == [[0, 20], [0.25, 30], [0.5, 40], [0.75, 50], [1, 60]]
    assert text(walk.items[0].facts)["gantry:to_attribute:age"] == "60"


def test_arithmetic_holds_attributes() -> None:
    path = Arithmetic(a=[1], b=[2], c=[3], condition=Condition(attributes={"smile": 1, "age": 30}))
    assert conditions(plan(face_card(), arithmetic=path)) == [[1, 30]] * 4


def test_a_model_of_latents_alone_interpolates_and_adds_but_has_no_axis() -> None:
    assert conditions(plan(plain_card(), interpolation=Interpolation(from_seed=1, to_seed=2))) == [[]] * 9
    assert conditions(plan(plain_card(), arithmetic=Arithmetic(a=[1], b=[2], c=[3]))) == [[]] * 4
    ((field, told),) = violations(plain_card(), sweep=Sweep(x=X))
    assert field == "sweep.x.code"
    assert told == "model plain has no axis 'c1'; its axes: none; use interpolation or arithmetic"


@pytest.mark.parametrize(
    ("sweep", "field", "description"),
    [
        (Sweep(x=Axis(code="beard")), "sweep.x.code", "no axis 'beard'; its axes: smile, age"),
        (Sweep(x=Axis(code="smile", values=[0, 2])), "sweep.x.values[1]", "must be 0 to 1, got 2"),
        (
            Sweep(x=Axis(code="age", range=Range(start=0, end=20, steps=2))),
            "sweep.x.range.start",
            "must be 18 to 80, got 0",
        ),
        (
            Sweep(x=Axis(code="age"), condition=Condition(attributes={"age": 20})),
            'sweep.condition.attributes["age"]',
            "age is what moves",
        ),
        (
            Sweep(x=Axis(code="age"), condition=Condition(attributes={"smile": -1})),
            'sweep.condition.attributes["smile"]',
            "must be 0 to 1, got -1",
        ),
        (
            Sweep(x=Axis(code="age"), condition=Condition(label_id=0)),
            "sweep.condition.label_id",
            "model faces has no classes; its inputs: latent, smile, age",
        ),
    ],
)
def test_a_violation_of_an_attribute_names_its_field(sweep: Sweep, field: str, description: str) -> None:
    ((named, told),) = violations(face_card(), sweep=sweep)
    assert named == field
    assert description in told


def test_what_is_held_is_held() -> None:
    held = Condition(codes=[CodeValue(code="shape", name="long"), CodeValue(code="c2", number=0.25)])
    walk = plan(sweep=Sweep(x=Axis(code="c1", values=[0, 1]), condition=held))
    assert conditions(walk) == [[0, 0, 1, 0, 0.25], [0, 0, 1, 1, 0.25]]


def test_a_frame_of_a_sweep_tells_what_makes_it_again_and_the_sheet_the_axes() -> None:
    walk = plan(sweep=Sweep(x=Axis(code="c1", values=[-1, 0.5]), seed=8), grid=GridOptions())
    shown = complete(code_card(), 8, {"c1": 0.5})
    told = {"gantry:seed": "8"} | text(shown.facts()) | {"gantry:truncation": "1"}
    assert text(walk.items[1].facts) == told
    sheet = {key: value for key, value in told.items() if key != "gantry:code:c1"} | {"gantry:x": "c1: -1,0.5"}
    assert text(walk.facts) == sheet


def test_an_interpolation_mixes_linearly_from_end_to_end() -> None:
    path = Interpolation(
        from_seed=1,
        to_seed=2**64 - 1,
        from_condition=Condition(label_name="circle"),
        to_condition=Condition(label_id=2),
        steps=5,
    )
    walk = plan(tiny_card(), interpolation=path)
    assert conditions(walk) == [[1 - t, 0, t] for t in (0, 0.25, 0.5, 0.75, 1)]
    assert [item.generate.slerp for item in walk.items] == [
        worker_pb2.Slerp(from_seed=1, to_seed=2**64 - 1, position=t) for t in (0, 0.25, 0.5, 0.75, 1)
    ]
    assert coordinates(walk)[1] == [("position", 0.25, "")]
    assert {frame.seed for frame in walk.frames} == {1}
    told = text(walk.items[1].facts)
    assert (told["gantry:position"], told["gantry:from_seed"], told["gantry:to_label_name"]) == (
        "0.25", "1", "three words here",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given_conditions", "start", "end"),
    [
        ({}, (5, {}), (6, {})),
        ({"from_condition": Condition(codes=[CodeValue(code="c1", number=1)])}, (5, {"c1": 1}), (5, {"c1": 1})),
        ({"to_condition": Condition(codes=[CodeValue(code="c1", number=1)])}, (5, {}), (6, {"c1": 1})),
        ({"from_condition": Condition(), "to_condition": Condition()}, (5, {}), (6, {})),
    ],
)
def test_ends_that_are_not_given_follow_the_first_or_their_seed(
    given_conditions: dict[str, Any], start: tuple[int, Any], end: tuple[int, Any]
) -> None:
    walk = plan(interpolation=Interpolation(from_seed=5, to_seed=6, **given_conditions))
    assert len(walk.items) == 9
    for place, (seed, codes) in ((0, start), (-1, end)):
        assert conditions(walk)[place] == complete(code_card(), seed, codes).vector


def test_arithmetic_shows_its_terms_and_the_result() -> None:
    walk = plan(tiny_card(), arithmetic=Arithmetic(a=[1, 2], b=[3], c=[4, 5, 6], condition=Condition(label_id=1)))
    assert coordinates(walk) == [[("term", i, name)] for i, name in enumerate(("a", "b", "c", "a - b + c"))]
    assert [[(list(t.seeds), t.weight) for t in item.generate.sum.terms] for item in walk.items] == [
        [([1, 2], 1)],
        [([3], 1)],
        [([4, 5, 6], 1)],
        [([1, 2], 1), ([3], -1), ([4, 5, 6], 1)],
    ]
    assert conditions(walk) == [[0, 1, 0]] * 4
    assert {frame.seed for frame in walk.frames} == {1}
    assert text(walk.items[3].facts)["gantry:term"] == "a - b + c"
    assert text(walk.items[3].facts)["gantry:c"] == "4,5,6"


def test_the_seed_zero_is_given_and_an_absent_one_is_picked() -> None:
    assert plan(sweep=Sweep(x=X, seed=0)).frames[0].seed == 0
    assert len({plan(sweep=Sweep(x=X)).frames[0].seed for _ in range(20)}) > 15
    plan(interpolation=Interpolation(from_seed=0, to_seed=0))


def test_frames_are_encoded_by_the_worker_unless_they_are_assembled() -> None:
    alone = plan(sweep=Sweep(x=X), format=IMAGE_FORMAT_JPEG, quality=40)
    assert alone.assembly is None
    assert {(item.format, item.quality) for item in alone.items} == {(IMAGE_FORMAT_JPEG, 40)}
    for assembly in ({"grid": GridOptions(gap=1)}, {"animation": Animation()}):
        together = plan(sweep=Sweep(x=X), format=IMAGE_FORMAT_JPEG, quality=40, **assembly)
        assert {item.format for item in together.items} == {IMAGE_FORMAT_RAW}
        assert (together.encoding.format, together.encoding.quality) == (IMAGE_FORMAT_JPEG, 40)


def test_defaults_of_assemblies() -> None:
    grid = plan(sweep=Sweep(x=X), grid=GridOptions()).assembly
    assert isinstance(grid, GridPlan)
    assert (grid.columns, grid.gap, grid.encoding.format) == (9, 2, IMAGE_FORMAT_PNG)
    assert plan(sweep=Sweep(x=X), animation=Animation()).assembly == AnimationPlan(100, False)
    there = plan(sweep=Sweep(x=X), animation=Animation(frame_milliseconds=10, back_and_forth=True))
    assert there.assembly == AnimationPlan(10, True)


@pytest.mark.parametrize(
    ("fields", "field", "description"),
    [
        ({}, "path", "required: sweep, interpolation or arithmetic"),
        ({"sweep": Sweep()}, "sweep.x.code", "required; its axes: k1 'shape', c1 'slant', c2"),
        ({"sweep": Sweep(x=Axis(code="class"))}, "sweep.x.code", "no axis 'class'; its axes: k1 'shape'"),
        ({"sweep": Sweep(x=X, y=Axis(code="z"))}, "sweep.y.code", "no axis 'z'"),
        ({"sweep": Sweep(x=X, y=Axis())}, "sweep.y.code", "required"),
        ({"sweep": Sweep(x=X, y=Axis(code="slant", values=[0]))}, "sweep.y.code", "c1 moves along x already"),
        ({"sweep": Sweep(x=Axis(code="c1", values=[0, 1.5]))}, "sweep.x.values[1]", "must be -1 to 1, got 1.5"),
        ({"sweep": Sweep(x=Axis(code="c1", values=[math.nan]))}, "sweep.x.values[0]", "must be -1 to 1, got nan"),
        ({"sweep": Sweep(x=Axis(code="k1", values=[1, 3]))}, "sweep.x.values[1]", "a whole number, 0 to 2, got 3"),
        ({"sweep": Sweep(x=Axis(code="k1", values=[0.5]))}, "sweep.x.values[0]", "a whole number, 0 to 2, got 0.5"),
        ({"sweep": Sweep(x=Axis(code="c1", values=[0] * 21))}, "sweep.x.values", "at most 20 stops, got 21"),
        (
            {"sweep": Sweep(x=Axis(code="c1", values=[0], range=Range(start=0, end=1, steps=2)))},
            "sweep.x.range",
            "at most one of values and range",
        ),
        (
            {"sweep": Sweep(x=Axis(code="k1", range=Range(start=0, end=1, steps=2)))},
            "sweep.x.range",
            "only continuous codes and attributes have a range; give values of k1, a whole number, 0 to 2",
        ),
        (
            {"sweep": Sweep(x=Axis(code="c1", range=Range(start=-1.5, end=1, steps=2)))},
            "sweep.x.range.start",
            "must be -1 to 1, got -1.5",
        ),
        (
            {"sweep": Sweep(x=Axis(code="c1", range=Range(start=0, end=math.inf, steps=2)))},
            "sweep.x.range.end",
            "must be -1 to 1, got inf",
        ),
        (
            {"sweep": Sweep(x=Axis(code="c1", range=Range(start=0, end=1, steps=1)))},
            "sweep.x.range.steps",
            "must be 2 to 20, got 1",
        ),
        (
            {"sweep": Sweep(x=Axis(code="c1", range=Range(start=0, end=1, steps=2**32 - 1)))},
            "sweep.x.range.steps",
            "must be 2 to 20, got 4294967295",
        ),
        ({"sweep": Sweep(x=X, y=Axis(code="k1"))}, "sweep", "at most 20 frames, got 27"),
        (
            {"sweep": Sweep(x=X, condition=Condition(codes=[CodeValue(code="slant", number=0)]))},
            "sweep.condition.codes[0].code",
            "c1 is what moves",
        ),
        (
            {"sweep": Sweep(x=X, condition=Condition(codes=[CodeValue(code="c2", number=9)]))},
            "sweep.condition.codes[0].number",
            "must be -2 to 0.5, got 9",
        ),
        (
            {"sweep": Sweep(x=X, condition=Condition(label_id=0))},
            "sweep.condition.label_id",
            "model codes has no classes; its inputs: latent, k1",
        ),
        ({"interpolation": Interpolation(to_seed=1)}, "interpolation.from_seed", "required"),
        ({"interpolation": Interpolation(from_seed=1)}, "interpolation.to_seed", "required"),
        (
            {"interpolation": Interpolation(from_seed=1, to_seed=2, steps=1)},
            "interpolation.steps",
            "must be 2 to 20, got 1",
        ),
        (
            {"interpolation": Interpolation(from_seed=1, to_seed=2, steps=2**31)},
            "interpolation.steps",
            "at most 20 frames, got 2147483648",
        ),
        (
            {"interpolation": Interpolation(from_seed=1, to_seed=2, to_condition=Condition(label_name="x"))},
            "interpolation.to_condition.label_name",
            "no classes",
        ),
        ({"arithmetic": Arithmetic(a=[1], b=[1])}, "arithmetic.c", "must be 1 to 20 seeds, got 0"),
        ({"arithmetic": Arithmetic(a=[1], b=[1] * 21, c=[1])}, "arithmetic.b", "must be 1 to 20 seeds, got 21"),
        (
            {"arithmetic": Arithmetic(a=[1], b=[1], c=[1], condition=Condition(codes=[CodeValue(code="x")]))},
            "arithmetic.condition.codes[0].code",
            "no code 'x'",
        ),
        ({"sweep": Sweep(x=X), "truncation": 1.5}, "truncation", "must be 0 to 1, got 1.5"),
        ({"sweep": Sweep(x=X), "format": 99}, "format", "99 is not supported"),
        ({"sweep": Sweep(x=X), "quality": 5}, "quality", "only JPEG and WEBP have a quality"),
        ({"sweep": Sweep(x=X), "grid": GridOptions(columns=0)}, "grid.columns", "must be at least 1, got 0"),
        (
            {"sweep": Sweep(x=X), "animation": Animation(frame_milliseconds=9)},
            "animation.frame_milliseconds",
            "must be 10 to 10000, got 9",
        ),
    ],
)
def test_a_violation_names_its_field(fields: dict[str, Any], field: str, description: str) -> None:
    ((named, told),) = violations(**fields)
    assert named == field
    assert description in told


def test_a_model_of_classes_has_one_axis() -> None:
    ((field, told),) = violations(tiny_card(), sweep=Sweep(x=X))
    assert (field, told) == ("sweep.x.code", "model tiny has no axis 'c1'; its axes: \"class\"")
    ((field, told),) = violations(
        tiny_card(), sweep=Sweep(x=Axis(code="class"), condition=Condition(label_name="circle"))
    )
    assert (field, told) == ("sweep.condition.label_name", "class is what moves")


def test_what_is_assembled_must_fit_into_an_answer_and_its_format() -> None:
    card = code_card()
    card.image.width = card.image.height = 200
    small = limits_of(max_response_bytes=200_000)
    sweep = Sweep(x=Axis(code="k1"))
    assert len(plan(card, small, sweep=sweep).items) == 3
    assert plan(card, small, sweep=sweep, grid=GridOptions()).assembly
    # In colours, as WEBP has no grey, three frames take more than a grid of them.
    ((field, told),) = violations(card, small, sweep=sweep, animation=Animation())
    assert field == "animation"
    assert "the answer could take 366144 bytes, more than 200000" in told
    ((field, _),) = violations(card, limits_of(max_response_bytes=100_000), sweep=sweep, grid=GridOptions())
    assert field == "grid"
    card.image.width, card.image.height = 16_383 // 3 + 1, 1
    ((field, told),) = violations(card, LIMITS, sweep=sweep, grid=GridOptions(gap=0), format=IMAGE_FORMAT_WEBP)
    assert field == "grid"
    assert "at most 16383 a side" in told


def test_going_back_and_forth_takes_room() -> None:
    card = code_card()
    card.image.width = card.image.height = 100
    limits = limits_of(max_response_bytes=9 * 33_000)
    assert plan(card, limits, sweep=Sweep(x=X), animation=Animation()).assembly
    ((field, _),) = violations(card, limits, sweep=Sweep(x=X), animation=Animation(back_and_forth=True))
    assert field == "animation"


_SEEDS = st.lists(st.integers(0, 2**64 - 1), max_size=22)
_CONDITIONS = st.none() | st.builds(
    Condition,
    label_id=st.integers(0, 4),
    codes=st.lists(st.builds(CodeValue, code=st.sampled_from(["k1", "c1"]), number=st.floats(width=32)), max_size=2),
    attributes=st.dictionaries(st.sampled_from(["smile", "age"]), st.floats(width=32), max_size=2),
)
_AXES = st.builds(
    Axis,
    code=st.sampled_from(["k1", "shape", "c1", "c2", "class", "age", ""]),
    values=st.lists(st.floats(width=32) | st.sampled_from([0.0, 1.0]), max_size=5),
    range=st.none()
    | st.builds(Range, start=st.floats(-3, 3, width=32), end=st.floats(-3, 3, width=32), steps=st.integers(0, 30)),
)
_REQUESTS = (
    st.builds(
        TraverseRequest,
        sweep=st.builds(Sweep, x=_AXES, y=st.none() | _AXES, condition=_CONDITIONS),
        truncation=st.none() | st.floats(width=32),
        format=st.integers(0, 5),
        animation=st.none() | st.builds(Animation, frame_milliseconds=st.none() | st.integers(0, 20_000)),
    )
    | st.builds(
        TraverseRequest,
        interpolation=st.builds(
            Interpolation,
            from_seed=st.none() | st.integers(0, 2**64 - 1),
            to_seed=st.integers(0, 2**64 - 1),
            from_condition=_CONDITIONS,
            to_condition=_CONDITIONS,
            steps=st.none() | st.integers(0, 2**32 - 1) | st.integers(0, 25),
        ),
    )
    | st.builds(TraverseRequest, arithmetic=st.builds(Arithmetic, a=_SEEDS, b=_SEEDS, c=_SEEDS, condition=_CONDITIONS))
)


@given(asked=_REQUESTS, card=st.sampled_from([tiny_card(), code_card(), plain_card(), face_card(), mixed_card()]))
def test_any_request_is_work_or_a_violation(asked: TraverseRequest, card: models_pb2.ModelCard) -> None:
    faults: Any = ()
    try:
        walk = plan_traverse(asked, card, LIMITS)
    except InvalidRequestError as refusal:
        faults = refusal.violations
    else:
        assert 1 <= len(walk.items) == len(walk.frames) <= LIMITS.max_images
        for item in walk.items:
            assert len(item.generate.condition) == len(condition_bounds(card))
            assert item.generate.WhichOneof("latent")
    assert all(field and description for field, description in faults)
