"""Classes and codes as callers name them: every fault has its path, and what is left open is drawn from the seed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.v1.generation_pb2 import CodeValue
from services.gateway.conditions import code_values, code_violations, label_fault, number_text, show
from services.worker.latents import draw_category, draw_label, draw_number
from tests.services.gateway.cards import code_card, tiny_card


def faults(*codes: CodeValue) -> list[tuple[str, str]]:
    return [(fault.field, fault.description) for fault in code_violations(code_card(), codes, "codes")]


def test_a_class_is_one_hot() -> None:
    shown = show(tiny_card(), 1, 2, {})
    assert shown.vector == [0.0, 0.0, 1.0]
    assert shown.label is not None
    assert (shown.label.id, shown.label.name) == (2, "three words here")
    assert shown.codes == []
    assert [(fact.key, fact.value) for fact in shown.facts("to_")] == [
        ("gantry:to_label_id", "2"),
        ("gantry:to_label_name", "three words here"),
    ]


def test_what_is_left_open_is_drawn_from_the_seed() -> None:
    label = show(tiny_card(), 77, None, {}).label
    assert label is not None
    assert label.id == draw_label(77, 3)
    codes = show(code_card(), 77, None, {}).codes
    assert [code.code for code in codes] == ["k1", "c1", "c2"]
    assert (codes[0].index, codes[1].number, codes[2].number) == (
        draw_category(77, 0, 3),
        draw_number(77, 0, -1.0, 1.0),
        draw_number(77, 1, -2.0, 0.5),
    )


def test_what_is_set_moves_nothing_that_is_drawn() -> None:
    drawn, partly = show(code_card(), 5, None, {}), show(code_card(), 5, None, {"c1": 0.5})
    assert partly.codes[0] == drawn.codes[0]
    assert partly.codes[2] == drawn.codes[2]
    assert partly.vector[3] == 0.5


@given(seed=st.integers(0, 2**64 - 1))
def test_the_vector_is_what_is_reported_and_gives_itself_again(seed: int) -> None:
    shown = show(code_card(), seed, None, {})
    assert shown.vector[:3] == [float(place == shown.codes[0].index) for place in range(3)]
    assert shown.vector[3:] == [shown.codes[1].number, shown.codes[2].number]
    assert faults(*shown.codes) == []
    assert show(code_card(), seed + 1, None, code_values(code_card(), shown.codes)) == shown


def test_codes_go_by_id_or_name_and_values_by_index_or_name() -> None:
    by_id = [CodeValue(code="k1", index=1), CodeValue(code="c1", number=-1.0)]
    by_name = [CodeValue(code="slant", number=-1.0), CodeValue(code="shape", name="square")]
    assert faults(*by_id) == faults(*by_name) == []
    assert code_values(code_card(), by_id) == code_values(code_card(), by_name) == {"k1": 1, "c1": -1.0}


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
    ((named, text),) = faults(*codes)
    assert named == field
    assert description in text


def test_codes_of_a_model_without_codes_are_refused() -> None:
    (fault,) = code_violations(tiny_card(), [CodeValue(code="c1", number=0)], "codes")
    assert fault == ("codes", "model tiny has no codes; its classes: 0 'circle', 1 'square', 2 'three words here'")


def test_the_first_unknown_class_is_told_with_its_place() -> None:
    assert label_fault(tiny_card(), [0, 2, 1]) is None
    place, fault = label_fault(tiny_card(), ["circle", "cube", "cone"]) or (0, "")
    assert place == 1
    assert "model tiny has no class 'cube'" in fault


@given(number=st.floats(width=32, allow_nan=False))
def test_a_number_is_written_so_that_it_can_be_read_again(number: float) -> None:
    assert CodeValue(number=float(number_text(number))).number == number
