"""Every rule of a card: the field at fault is named, whatever the model takes."""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format

from gantry.v1 import models_pb2
from services.worker.card import find_fault
from tests.archives import (
    tiny_attribute_card,
    tiny_card,
    tiny_code_card,
    tiny_one_way_card,
    tiny_translation_card,
    tiny_unconditional_card,
)
from training.archive.package import LATENT_EXECUTION, TRANSLATION_EXECUTION

Card = models_pb2.ModelCard


CARDS: dict[str, Card] = {
    "classes": tiny_card(),
    "codes": tiny_code_card(),
    "plain": tiny_unconditional_card(),
    "attributes": tiny_attribute_card(),
    "translation": tiny_translation_card(),
    "one way": tiny_one_way_card(),
}
LATENT = ["classes", "codes", "plain", "attributes"]


@pytest.fixture
def cards() -> dict[str, Card]:
    """A card of each sort, with the execution that `write_archive` fills in; free to be changed."""
    copies = {}
    for sort, card in CARDS.items():
        copies[sort] = Card()
        copies[sort].CopyFrom(card)
        execution = LATENT_EXECUTION if sort in LATENT else TRANSLATION_EXECUTION
        copies[sort].execution.CopyFrom(execution)
    return copies


@pytest.mark.parametrize("sort", CARDS)
def test_sound_cards_have_no_fault(cards: dict[str, Card], sort: str) -> None:
    assert find_fault(cards[sort]) == ""


def test_inputs_may_stand_in_any_order_and_go_together(cards: dict[str, Card]) -> None:
    card = cards["attributes"]
    card.classes.add(id=0, name="only")
    card.continuous_codes.add(id="c1", min=-1, max=1)
    card.graphs[0].inputs[:] = ["latent", "age", "c1", "class", "smile"]
    card.kind = models_pb2.MODEL_KIND_CODE_CONDITIONAL
    assert find_fault(card) == ""


def fault_of(card: Card, change: dict[str, Any]) -> str:
    """The fault of a card some of whose fields are replaced; messages field by field."""
    told = json_format.MessageToDict(card, preserving_proto_field_name=True)
    for name, value in change.items():
        told[name] = told.get(name, {}) | value if isinstance(value, dict) else value
    return find_fault(json_format.ParseDict({name: value for name, value in told.items() if value is not None}, Card()))


@pytest.mark.parametrize("kind", CARDS)
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
def test_a_field_of_every_model(cards: dict[str, Card], kind: str, field: str, change: dict[str, Any]) -> None:
    assert fault_of(cards[kind], change).startswith(f"{field}: must be ")


@pytest.mark.parametrize("kind", LATENT)
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
        ("graphs[0].inputs", {"continuous_codes": [{"id": "c1", "min": -1, "max": 1}]}),
        ("graphs[0].inputs", {"attributes": [{"name": "age", "min": -1, "max": 1}]}),
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
        ("classes: must be absent of a model without the input 'class'", lambda card: card.classes.add(name="a")),
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


def test_a_code_may_not_be_named_as_another_input(cards: dict[str, Card]) -> None:
    card = cards["codes"]
    card.continuous_codes[1].name = "class"
    assert find_fault(card) == ""
    card.classes.add(id=0, name="only")
    card.graphs[0].inputs.append("class")
    assert find_fault(card) == "continuous_codes[1].name: must be unique, and no other input's id"


@pytest.mark.parametrize(
    ("sort", "fault"),
    [
        ("classes", "kind: must be MODEL_KIND_CLASS_CONDITIONAL, as the inputs say"),
        ("codes", "kind: must be MODEL_KIND_CODE_CONDITIONAL, as the inputs say"),
        ("plain", "kind: must be MODEL_KIND_UNCONDITIONAL, as the inputs say"),
        ("attributes", "kind: must be MODEL_KIND_ATTRIBUTE_CONDITIONAL, as the inputs say"),
        ("one way", "kind: must be MODEL_KIND_TRANSLATION, as the inputs say"),
    ],
)
def test_the_kind_is_the_word_for_the_inputs(cards: dict[str, Card], sort: str, fault: str) -> None:
    for kind in models_pb2.ModelKind.values():
        if kind != CARDS[sort].kind:
            cards[sort].kind = kind
            assert find_fault(cards[sort]) == fault


@pytest.mark.parametrize(
    ("fault", "attribute"),
    [
        ("attributes[2].name: must be 1 to 48 of a-z", {"name": "Glasses"}),
        ("attributes[2].name: must be 1 to 48 of a-z", {"name": "a" * 49}),
        ("attributes[2].name: must be 1 to 48 of a-z", {"name": ""}),
        ("attributes[2].name: must be 1 to 48 of a-z", {"name": "9lives"}),
        ("attributes[0].name: must be unique", {"name": "smile"}),
        (
            "attributes[2].name: must be no code's, and none of class, latent, picture, position, term",
            {"name": "class"},
        ),
        ("attributes[2].name: must be no code's", {"name": "latent"}),
        ("attributes[2].name: must be no code's", {"name": "picture"}),
        ("attributes[2].name: must be no code's", {"name": "position"}),
        ("attributes[2].name: must be no code's", {"name": "term"}),
        ("attributes[2].name: must be no code's", {"name": "c1"}),
        ("attributes[2].name: must be no code's", {"name": "slant"}),
        ("attributes[2].min: must be finite", {"name": "a", "min": "-Infinity"}),
        ("attributes[2].max: must be finite and greater than min", {"name": "a", "min": 1, "max": 1}),
        ("attributes[2].max: must be finite and greater than min", {"name": "a", "max": "Infinity"}),
        ("attributes[2].max: must be finite and greater than min", {"name": "a", "max": "NaN"}),
        ("graphs[0].inputs: must be all that the card describes; 'a' is missing", {"name": "a", "max": 1}),
    ],
)
def test_a_field_of_attributes(cards: dict[str, Card], fault: str, attribute: dict[str, Any]) -> None:
    card = cards["attributes"]
    card.continuous_codes.add(id="c1", name="slant", min=-1, max=1)
    card.graphs[0].inputs.append("c1")
    card.kind = models_pb2.MODEL_KIND_CODE_CONDITIONAL
    assert find_fault(card) == ""
    json_format.ParseDict(attribute, card.attributes.add())
    assert find_fault(card).startswith(fault)


Graph = models_pb2.Graph


@pytest.mark.parametrize(
    ("sort", "graphs", "fault"),
    [
        (
            "plain",
            [],
            "graphs: must be one whose first input is 'latent', or one or two whose first input is 'picture'",
        ),
        ("plain", [Graph(member="model.pt2")], "graphs: must be one"),
        ("classes", [Graph(member="model.pt2", inputs=["class", "latent"])], "graphs: must be one"),
        ("plain", [Graph(member=f"{name}.pt2", inputs=["latent"]) for name in "ab"], "graphs: must be one"),
        ("plain", [Graph(member="../model.pt2", inputs=["latent"])], "graphs[0].member: must be a plain name"),
        ("plain", [Graph(member="handler.py", inputs=["latent"])], "graphs[0].member: must be a plain name"),
        (
            "plain",
            [Graph(member="model.pt2", inputs=["latent", "smile"])],
            "graphs[0].inputs: must be of 'class', 'lat",
        ),
        ("plain", [Graph(member="model.pt2", inputs=["latent", "picture"])], "image.width: must be 0"),
        ("plain", [Graph(member="model.pt2", inputs=["latent", "class"])], "classes: must be 1 to 65536"),
        (
            "attributes",
            [Graph(member="model.pt2", inputs=["latent", "age", "smile", "age"])],
            "graphs[0].inputs: must be different from each other",
        ),
        (
            "codes",
            [Graph(member="model.pt2", inputs=["latent", "k1", "c2"])],
            "graphs[0].inputs: must be all that the card describes; 'c1' is missing",
        ),
        (
            "one way",
            [Graph(member="a.pt2", inputs=["picture", "latent"], source_domain="sketch", target_domain="photo")],
            "graphs[0].inputs: must be of 'picture'",
        ),
        (
            "one way",
            [Graph(member="a.pt2", inputs=["picture"], source_domain="sketch", target_domain="painting")],
            "graphs[0].source_domain: must be one of the translation's domains, and target_domain the other",
        ),
        (
            "one way",
            [Graph(member="a.pt2", inputs=["picture"], source_domain="sketch", target_domain="sketch")],
            "graphs[0].source_domain: must be one of the translation's domains",
        ),
        ("one way", [Graph(member="a.pt2", inputs=["picture"])], "graphs[0].source_domain: must be one of"),
        (
            "translation",
            [
                Graph(member=f"{name}.pt2", inputs=["picture"], source_domain="zebra", target_domain="horse")
                for name in "ab"
            ],
            "graphs[0].source_domain: must be another than that of the other graph",
        ),
        (
            "translation",
            [
                Graph(member="a.pt2", inputs=["picture"], source_domain="zebra", target_domain="horse"),
                Graph(member="a.pt2", inputs=["picture"], source_domain="horse", target_domain="zebra"),
            ],
            "graphs[0].member: must be unique",
        ),
    ],
)
def test_a_field_of_graphs(cards: dict[str, Card], sort: str, graphs: list[Graph], fault: str) -> None:
    card = cards[sort]
    del card.graphs[:]
    card.graphs.extend(graphs)
    assert find_fault(card).startswith(fault)


def test_a_graph_of_latents_has_no_domains(cards: dict[str, Card]) -> None:
    cards["plain"].graphs[0].source_domain = "sketch"
    assert (
        find_fault(cards["plain"]) == "graphs[0].source_domain: must be absent of a graph without the input 'picture'"
    )


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("image.width", {"image": {"width": 8}}),
        ("image.height", {"image": {"height": 8}}),
        ("image.channels", {"image": {"channels": 1}}),
        ("latent", {"latent": {"size": 8}}),
        ("classes", {"classes": [{"id": 0, "name": "a"}]}),
        ("categorical_codes[0].values", {"categorical_codes": [{"id": "k1"}]}),
        ("graphs[0].inputs", {"continuous_codes": [{"id": "c1", "max": 1}]}),
        ("graphs[0].inputs", {"attributes": [{"name": "age", "max": 1}]}),
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
