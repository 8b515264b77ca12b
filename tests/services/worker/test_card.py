"""Every rule of a card: the field at fault is named, whatever the kind of model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from gantry.v1 import models_pb2
from services.worker.archive import open_archive
from services.worker.card import condition_size, find_fault, graph_members

Card = models_pb2.ModelCard


@pytest.fixture(scope="session")
def cards(tiny_mar: Path, code_mar: Path, translation_mar: Path) -> dict[str, Card]:
    kinds = {"classes": tiny_mar, "codes": code_mar, "translation": translation_mar}
    return {kind: open_archive(path).card for kind, path in kinds.items()}


@pytest.mark.parametrize(("kind", "size"), [("classes", 3), ("codes", 5), ("translation", 0)])
def test_sound_cards_have_no_fault(cards: dict[str, Card], kind: str, size: int) -> None:
    assert find_fault(cards[kind]) == ""
    assert condition_size(cards[kind]) == size


def test_graphs_follow_from_the_kind(cards: dict[str, Card]) -> None:
    members = {kind: graph_members(card) for kind, card in cards.items()}
    assert members == {
        "classes": ("model.pt2",),
        "codes": ("model.pt2",),
        "translation": ("a_to_b.pt2", "b_to_a.pt2"),
    }


def fault_of(card: Card, change: dict[str, Any]) -> str:
    """The fault of a card some of whose fields are replaced; messages field by field."""
    told = json_format.MessageToDict(card, preserving_proto_field_name=True)
    for name, value in change.items():
        told[name] = told.get(name, {}) | value if isinstance(value, dict) else value
    return find_fault(json_format.ParseDict({name: value for name, value in told.items() if value is not None}, Card()))


@pytest.mark.parametrize("kind", ["classes", "codes", "translation"])
@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "Upper"}),
        ("name", {"name": "a/b"}),
        ("name", {"name": "a" * 64}),
        ("name", {"name": "a\n"}),
        ("version", {"version": ""}),
        ("version", {"version": "1.0"}),
        ("version", {"version": "1.0.²"}),
        ("version", {"version": "1.0." + "9" * 5000}),
        ("version", {"version": "../1.0.0"}),
        ("kind", {"kind": "MODEL_KIND_UNSPECIFIED"}),
        ("kind", {"kind": 99}),
        ("image.channels", {"image": {"channels": 2}}),
        ("image.channels", {"image": {"channels": 4}}),
        ("image.value_max", {"image": {"value_max": -1}}),
        ("image.value_max", {"image": {"value_max": "NaN"}}),
        ("image.value_max", {"image": {"value_max": "Infinity"}}),
        ("image.value_min", {"image": {"value_min": "-Infinity"}}),
        ("execution.chunk_items", {"execution": {"chunk_items": 0}}),
        ("execution.chunk_items", {"execution": {"chunk_items": 65}}),
        ("execution.max_batch_items", {"execution": {"max_batch_items": 0}}),
        ("execution.max_batch_items", {"execution": {"max_batch_items": 1025}}),
        ("figures[0].name", {"figures": [{"name": "A", "png": "iVBORw0KGgo="}]}),
        ("figures[0].name", {"figures": [{"name": "a", "png": "iVBORw0KGgo="}] * 2}),
        ("figures[0].png", {"figures": [{"name": "a", "png": "R0lGODlh"}]}),
    ],
)
def test_a_field_of_every_kind(cards: dict[str, Card], kind: str, field: str, change: dict[str, Any]) -> None:
    # A card of an unknown kind has other fields at fault too.
    assert fault_of(cards[kind], change).startswith(f"{field}: must be ")


@pytest.mark.parametrize("kind", ["classes", "codes"])
@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("image.width", {"image": {"width": 0}}),
        ("image.height", {"image": {"height": 0}}),
        ("image.height", {"image": {"height": 1 << 31}}),
        ("latent.size", {"latent": {"size": 0}}),
        ("latent.size", {"latent": {"size": 4_000_000_000}}),
        ("latent.size", {"latent": None}),
        ("latent.distribution", {"latent": {"distribution": "LATENT_DISTRIBUTION_UNSPECIFIED"}}),
        ("execution.bfloat16", {"execution": {"bfloat16": True}}),
        ("translation", {"translation": {"domain_a": "horse"}}),
    ],
)
def test_a_field_of_models_from_latents(cards: dict[str, Card], kind: str, field: str, change: dict[str, Any]) -> None:
    assert fault_of(cards[kind], change).startswith(f"{field}: must be ")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("classes", {"classes": []}),
        ("classes", {"classes": [{"id": 1, "name": "a"}]}),
        ("classes", {"classes": [{"id": 0, "name": "a"}, {"id": 0, "name": "b"}]}),
        ("classes", {"classes": [{"id": 0, "name": "a"}, {"id": 1, "name": "a"}]}),
        ("classes", {"classes": [{"id": 0, "name": ""}]}),
        ("categorical_codes", {"categorical_codes": [{"id": "k1"}]}),
        ("continuous_codes", {"continuous_codes": [{"id": "c1", "min": -1, "max": 1}]}),
    ],
)
def test_a_field_of_class_conditional_models(cards: dict[str, Card], field: str, change: dict[str, Any]) -> None:
    assert fault_of(cards["classes"], change).startswith(f"{field}: must be ")


def change_of(path: str, value: Any) -> Callable[[Card], None]:
    """A change of one field of the first categorical code, or the second continuous one."""
    head, _, field = path.rpartition(".")

    def change(card: Card) -> None:
        setattr(card.categorical_codes[0] if head == "k" else card.continuous_codes[1], field, value)

    return change


@pytest.mark.parametrize(
    ("fault", "change"),
    [
        ('categorical_codes[0].id: must be "k" and a number', change_of("k.id", "digit")),
        ("categorical_codes[0].name: must be unique", change_of("k.name", "c1")),
        ("categorical_codes[0].name: must be unique", change_of("k.name", "slant")),
        ('continuous_codes[1].id: must be "c" and a number', change_of("c.id", "")),
        ("continuous_codes[0].id: must be unique", change_of("c.id", "c1")),
        ("continuous_codes[0].name: must be unique", change_of("c.name", "slant")),
        ("continuous_codes[1].name: must be unique", change_of("c.name", "k1")),
        ("continuous_codes[1].min: must be finite", change_of("c.min", float("-inf"))),
        ("continuous_codes[1].min: must be finite", change_of("c.min", float("nan"))),
        ("continuous_codes[1].max: must be finite and greater", change_of("c.max", float("inf"))),
        ("continuous_codes[1].max: must be finite and greater", change_of("c.max", -1.0)),
        (
            "categorical_codes[0].values: must be at least two",
            lambda card: card.categorical_codes[0].ClearField("values"),
        ),
        ("categorical_codes[0].values: must be indexed", lambda card: card.categorical_codes[0].values.add(index=4)),
        (
            "categorical_codes[0].values: must be of different names",
            lambda card: card.categorical_codes[0].values.add(index=3, name="round"),
        ),
        ("classes: must be absent", lambda card: card.classes.add(name="a")),
    ],
)
def test_a_field_of_code_conditional_models(cards: dict[str, Card], fault: str, change: Callable[[Card], None]) -> None:
    card = Card()
    card.CopyFrom(cards["codes"])
    change(card)
    assert find_fault(card).startswith(fault)


def test_a_code_may_be_named_as_its_own_id_and_values_may_have_no_names(cards: dict[str, Card]) -> None:
    card = Card()
    card.CopyFrom(cards["codes"])
    card.continuous_codes[1].name = "c2"
    for value in card.categorical_codes[0].values:
        value.name = ""
    assert find_fault(card) == ""


def test_a_model_needs_a_code(cards: dict[str, Card]) -> None:
    change = {"categorical_codes": [], "continuous_codes": []}
    assert fault_of(cards["codes"], change).startswith("categorical_codes: must be given")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("image.width", {"image": {"width": 8}}),
        ("image.height", {"image": {"height": 8}}),
        ("image.channels", {"image": {"channels": 1}}),
        ("latent", {"latent": {"size": 8}}),
        ("classes", {"classes": [{"id": 0, "name": "a"}]}),
        ("categorical_codes", {"categorical_codes": [{"id": "k1"}]}),
        ("continuous_codes", {"continuous_codes": [{"id": "c1"}]}),
        ("translation.domain_a", {"translation": {"domain_a": ""}}),
        ("translation.domain_b", {"translation": {"domain_b": ""}}),
        ("translation.domain_b", {"translation": {"domain_b": "horse"}}),
        ("translation.multiple", {"translation": {"multiple": 0}}),
        ("translation.multiple", {"translation": {"multiple": 257}}),
        ("translation.domain_a", {"translation": None}),
        ("execution.chunk_items", {"execution": {"chunk_items": 2}}),
    ],
)
def test_a_field_of_translation_models(cards: dict[str, Card], field: str, change: dict[str, Any]) -> None:
    assert fault_of(cards["translation"], change).startswith(f"{field}: must be ")
