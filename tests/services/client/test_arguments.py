"""What a person types."""

from typing import Any

import pytest

from services.client import Arithmetic, Axis, Interpolation, Sweep
from services.client.arguments import read_attributes, read_axis, read_codes, read_label, read_labels, read_path
from services.client.paths import Path
from tests.archives import tiny_code_card


def test_labels_are_ids_where_they_can_be() -> None:
    assert (read_label("7"), read_label("seven")) == (7, "seven")
    assert read_labels(["7", "0"]) == [7, 0]
    assert read_labels(["7", "seven"]) == ["7", "seven"]


def test_codes_are_read_by_the_card() -> None:
    card = tiny_code_card()
    assert read_codes(["slant=1", "c2=-.5", "shape=long"], card) == {"slant": 1.0, "c2": -0.5, "shape": "long"}
    assert type(read_codes(["slant=1"], card)["slant"]) is float
    assert read_codes(["k1=2"], card) == {"k1": 2}


def test_a_value_that_is_named_like_a_number_is_meant_by_name() -> None:
    card = tiny_code_card()
    card.categorical_codes[0].values[0].name = "2"
    assert read_codes(["k1=2"], card) == {"k1": "2"}


def test_what_the_card_does_not_know_is_left_to_the_gateway() -> None:
    assert read_codes(["size=big", "shape=flat"], tiny_code_card()) == {"size": "big", "shape": "flat"}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["slant"], "^--code slant: must be NAME=VALUE"),
        (["=1"], "must be NAME=VALUE"),
        (["slant="], "must be NAME=VALUE"),
        (["slant=1", "slant=2"], "^--code slant=2: slant is set twice"),
        (["slant=left"], "^--code slant=left: 'left' is not a number"),
    ],
)
def test_codes_that_cannot_be_read(texts: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_codes(texts, tiny_code_card())


def test_attributes_are_numbers() -> None:
    assert read_attributes(["smile=.7", "age=30"]) == {"smile": 0.7, "age": 30.0}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["smile"], "^--to-attribute smile: must be NAME=VALUE"),
        (["smile=0", "smile=1"], "^--to-attribute smile=1: smile is set twice"),
        (["smile=broad"], "^--to-attribute smile=broad: 'broad' is not a number"),
    ],
)
def test_attributes_that_cannot_be_read(texts: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_attributes(texts, "--to-attribute")


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("slant", Axis("slant")),
        ("slant=-1:1:9", Axis("slant", start=-1, end=1, steps=9)),
        ("digit=0,3,7", Axis("digit", values=[0, 3, 7])),
        ("c1=.5", Axis("c1", values=[0.5])),
    ],
)
def test_axes(text: str, axis: Axis) -> None:
    assert read_axis(text, "--x") == axis


@pytest.mark.parametrize("text", ["slant=0:1", "slant=0:1:two", "slant=:1:2", "slant=left", "slant="])
def test_axes_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match=f"^--y {text}: "):
        read_axis(text, "--y")


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"x": Axis("c1"), "seed": 0, "y": None}, Sweep(x=Axis("c1"), seed=0)),
        ({"from_seed": 0, "to_seed": 2, "steps": 3}, Interpolation(from_seed=0, to_seed=2, steps=3)),
        ({"a": [1], "b": [2], "c": [3], "label": "x"}, Arithmetic(a=[1], b=[2], c=[3], label="x")),
    ],
)
def test_ways(options: dict[str, Any], path: Path) -> None:
    assert read_path(**options) == path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1}, "give one way: --x for a sweep"),
        ({"x": Axis("c1"), "a": [1]}, "give one way"),
        ({"x": Axis("c1"), "steps": 3}, "--steps does not go with --x"),
        ({"from_seed": 1, "to_seed": 2, "codes": {"c1": 0.5}}, "--code does not go with --from-seed"),
        ({"x": Axis("c1"), "to_attributes": {"smile": 1.0}}, "--to-attribute does not go with --x"),
        ({"from_seed": 1}, "--from-seed needs --to-seed too"),
        ({"a": [1], "c": [1]}, "--a needs --b too"),
    ],
)
def test_options_that_are_no_way(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_path(**options)
