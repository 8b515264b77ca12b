"""Conditions as callers name them: every fault has its path, and what is left open is drawn from the seed."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.v1 import models_pb2
from gantry.v1.generation_pb2 import Arithmetic, CodeValue, Condition, SampleRequest, TraverseRequest
from services.gateway.errors import InvalidRequestError
from services.gateway.planning.conditions import CompleteCondition, complete
from services.gateway.planning.sample import plan_sample
from services.gateway.planning.scales import number_text
from services.gateway.planning.traverse import plan_traverse
from services.worker.latents import draw_attribute, draw_category, draw_label, draw_number
from tests.services.gateway.cards import code_card, face_card, limits_of, mixed_card, plain_card, tiny_card


def condition(card: models_pb2.ModelCard, **fields: Any) -> list[float]:
    plan = plan_sample(SampleRequest(seed=5, **fields), card, limits_of())
    return list(plan.items[0].generate.condition)


def violations(card: models_pb2.ModelCard, **fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequestError) as error:
        condition(card, **fields)
    return [(violation.field, violation.description) for violation in error.value.violations]


def violations_of_a_walk(card: models_pb2.ModelCard, **fields: Any) -> list[tuple[str, str]]:
    path = Arithmetic(a=[1], b=[2], c=[3], condition=Condition(**fields))
    with pytest.raises(InvalidRequestError) as error:
        plan_traverse(TraverseRequest(arithmetic=path), card, limits_of())
    return [(violation.field, violation.description) for violation in error.value.violations]


def test_a_class_is_one_hot() -> None:
    shown = complete(tiny_card(), 1, {"class": 2})
    assert shown.vector == [0.0, 0.0, 1.0]
    assert shown.label is not None
    assert (shown.label.id, shown.label.name) == (2, "three words here")
    assert shown.codes == []
    assert [(fact.key, fact.value) for fact in shown.facts("to_")] == [
        ("gantry:to_label_id", "2"),
        ("gantry:to_label_name", "three words here"),
    ]


def test_what_is_left_open_is_drawn_from_the_seed() -> None:
    label = complete(tiny_card(), 77, {}).label
    assert label is not None
    assert label.id == draw_label(77, 3)
    codes = complete(code_card(), 77, {}).codes
    assert [code.code for code in codes] == ["k1", "c1", "c2"]
    assert (codes[0].index, codes[1].number, codes[2].number) == (
        draw_category(77, 0, 3),
        draw_number(77, 0, -1.0, 1.0),
        draw_number(77, 1, -2.0, 0.5),
    )
    assert complete(face_card(), 77, {}).attributes == {
        "smile": draw_attribute(77, 0, 0.0, 1.0),
        "age": draw_attribute(77, 1, 18.0, 80.0),
    }


def test_a_model_of_latents_alone_has_an_empty_condition() -> None:
    assert complete(plain_card(), 3, {}) == CompleteCondition([], None, [], {})
    assert complete(plain_card(), 3, {}).facts() == []


def test_the_condition_follows_the_order_of_the_graph() -> None:
    shown = complete(mixed_card(), 4, {"class": 1, "c1": 0.5, "age": 30})
    assert shown.vector == [30.0, 0.5, 0.0, 1.0, 0.0]
    assert [(fact.key, fact.value) for fact in shown.facts()] == [
        ("gantry:label_id", "1"),
        ("gantry:label_name", "square"),
        ("gantry:code:c1", "0.5"),
        ("gantry:attribute:age", "30"),
    ]


def test_an_attribute_more_changes_nothing_else_that_is_drawn() -> None:
    more = mixed_card()
    more.attributes.add(name="smile", min=0.0, max=1.0)
    more.graphs[0].inputs.append("smile")
    fewer, now = complete(mixed_card(), 9, {}), complete(more, 9, {})
    assert now.vector[:-1] == fewer.vector
    assert now.attributes == {**fewer.attributes, "smile": now.vector[-1]}


def test_an_attribute_is_reported_as_the_message_holds_it() -> None:
    shown = complete(face_card(), 1, {"smile": 0.1})
    assert shown.attributes["smile"] == shown.vector[0] == CodeValue(number=0.1).number
    assert shown.facts("from_")[0].key == "gantry:from_attribute:smile"
    assert shown.facts("from_")[0].value == "0.1"


def test_what_is_set_moves_nothing_that_is_drawn() -> None:
    drawn, partly = complete(code_card(), 5, {}), complete(code_card(), 5, {"c1": 0.5})
    assert partly.codes[0] == drawn.codes[0]
    assert partly.codes[2] == drawn.codes[2]
    assert partly.vector[3] == 0.5


@given(seed=st.integers(0, 2**64 - 1))
def test_the_vector_is_what_is_reported_and_gives_itself_again(seed: int) -> None:
    shown = complete(code_card(), seed, {})
    assert shown.vector[:3] == [float(place == shown.codes[0].index) for place in range(3)]
    assert shown.vector[3:] == [shown.codes[1].number, shown.codes[2].number]
    assert condition(code_card(), codes=shown.codes) == shown.vector


def test_codes_go_by_id_or_name_and_values_by_index_or_name() -> None:
    by_id = [CodeValue(code="k1", index=1), CodeValue(code="c1", number=-1.0)]
    by_name = [CodeValue(code="slant", number=-1.0), CodeValue(code="shape", name="square")]
    by_id_condition, by_name_condition = (condition(code_card(), codes=codes) for codes in (by_id, by_name))
    assert by_id_condition == by_name_condition == complete(code_card(), 5, {"k1": 1, "c1": -1.0}).vector


@pytest.mark.parametrize(
    ("codes", "field", "description"),
    [
        ([CodeValue(code="c9", number=0)], "codes[0].code", "no code 'c9'; its codes: k1 'shape', c1 'slant', c2"),
        ([CodeValue(code="", number=0)], "codes[0].code", "no code ''"),
        ([CodeValue(code="c1", number=0), CodeValue(code="slant", number=0)], "codes[1].code", "by codes[0] too"),
        (
            [CodeValue(code="c2"), CodeValue(code="k1")],
            "codes[0].number",
            "code c2 is continuous; give a number, -2 to",
        ),
        ([CodeValue(code="c1", index=0)], "codes[0].index", "code c1 is continuous; give a number, -1 to 1"),
        ([CodeValue(code="c1", name="left")], "codes[0].name", "code c1 is continuous; give a number, -1 to 1"),
        ([CodeValue(code="c1", number=1.01)], "codes[0].number", "must be -1 to 1, got 1.01"),
        ([CodeValue(code="c2", number=math.nan)], "codes[0].number", "must be -2 to 0.5, got nan"),
        ([CodeValue(code="c2", number=math.inf)], "codes[0].number", "must be -2 to 0.5, got inf"),
        ([CodeValue(code="k1")], "codes[0].index", "code k1 is categorical; give an index, 0 to 2"),
        ([CodeValue(code="k1", number=1)], "codes[0].number", "code k1 is categorical; give an index, 0 to 2"),
        ([CodeValue(code="k1", index=3)], "codes[0].index", "must be 0 to 2, got 3"),
        ([CodeValue(code="k1", name="Round")], "codes[0].name", "no value 'Round'; its values: 0 'round', 1 'square'"),
        ([CodeValue(code="k1", name="")], "codes[0].name", "no value ''"),
    ],
)
def test_a_fault_of_a_code_says_what_is_allowed(codes: list[CodeValue], field: str, description: str) -> None:
    ((named, text),) = violations(code_card(), codes=codes)
    assert named == field
    assert description in text


def test_codes_of_a_model_without_codes_are_refused() -> None:
    fault = "model tiny has no codes; its inputs: latent, class"
    codes = [CodeValue(code="c1", number=0)]
    assert violations(tiny_card(), codes=codes) == [("codes", fault)]
    assert violations_of_a_walk(tiny_card(), codes=codes) == [("arithmetic.condition.codes", fault)]


def test_a_code_given_twice_names_the_first_by_its_path() -> None:
    codes = [CodeValue(code="c2", number=0), CodeValue(code="c1", number=0), CodeValue(code="slant", number=0)]
    assert violations_of_a_walk(code_card(), codes=codes) == [
        ("arithmetic.condition.codes[2].code", "code c1 is given by arithmetic.condition.codes[1] too")
    ]


@pytest.mark.parametrize(
    ("card", "attributes", "field", "description"),
    [
        (face_card(), {"smile": 3}, 'attributes["smile"]', "must be 0 to 1, got 3"),
        (face_card(), {"age": 17.5, "smile": 1}, 'attributes["age"]', "must be 18 to 80, got 17.5"),
        (face_card(), {"age": math.nan}, 'attributes["age"]', "must be 18 to 80, got nan"),
        (face_card(), {"age": math.inf}, 'attributes["age"]', "must be 18 to 80, got inf"),
        (
            face_card(),
            {"Smile": 0, "age": 20},
            'attributes["Smile"]',
            "model faces has no attribute 'Smile'; its attributes: smile 0 to 1, age 18 to 80",
        ),
        (face_card(), {'a"\n': 0}, 'attributes["a\\"\\n"]', "model faces has no attribute"),
        (plain_card(), {"smile": 0}, "attributes", "model plain has no attributes; its inputs: latent"),
        (code_card(), {"c1": 0}, "attributes", "no attributes; its inputs: latent, k1 'shape', c1 'slant', c2"),
        (mixed_card(), {"c1": 0}, 'attributes["c1"]', "no attribute 'c1'; its attributes: age 18 to 80"),
    ],
)
def test_a_fault_of_an_attribute_says_what_is_allowed(
    card: models_pb2.ModelCard, attributes: dict[str, float], field: str, description: str
) -> None:
    ((named, text),) = violations(card, attributes=attributes)
    assert named == field
    assert description in text


def test_a_fault_of_an_attribute_has_its_path_in_the_request() -> None:
    ((field, _),) = violations_of_a_walk(face_card(), attributes={"age": 0})
    assert field == 'arithmetic.condition.attributes["age"]'


def test_codes_and_attributes_are_refused_together_what_the_model_lacks_first() -> None:
    faults = violations(code_card(), codes=[CodeValue(code="c9")], attributes={"age": 0})
    assert [field for field, _ in faults] == ["attributes", "codes[0].code"]


def test_bounds_are_allowed() -> None:
    assert condition(face_card(), attributes={"smile": 1, "age": 18}) == [1.0, 18.0]


def test_the_first_unknown_class_stands_for_all() -> None:
    assert condition(tiny_card(), label_ids=[2, 0, 1]) == [0.0, 0.0, 1.0]
    ((field, description),) = violations(tiny_card(), label_names=["circle", "cube", "cone"])
    assert field == "label_names[1]"
    assert "model tiny has no class 'cube'" in description


@given(number=st.floats(width=32, allow_nan=False))
def test_a_number_is_written_so_that_it_can_be_read_again(number: float) -> None:
    assert CodeValue(number=float(number_text(number))).number == number
