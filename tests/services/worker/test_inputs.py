"""What a model takes, by name; and cards of before `graphs` mean what they meant."""

import pytest

from gantry.v1 import models_pb2
from gantry.v1.generation_pb2 import DIRECTION_A_TO_B, DIRECTION_B_TO_A
from services.worker.inputs import (
    condition_bounds,
    condition_inputs,
    fill_in_graphs,
    kind_of,
    neutral_condition,
    takes,
    ways_of,
)
from tests.archives import (
    tiny_attribute_card,
    tiny_card,
    tiny_code_card,
    tiny_one_way_card,
    tiny_translation_card,
    tiny_unconditional_card,
)

CARDS = [
    tiny_card(),
    tiny_code_card(),
    tiny_unconditional_card(),
    tiny_attribute_card(),
    tiny_translation_card(),
    tiny_one_way_card(),
]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_the_kind_follows_from_the_inputs(card: models_pb2.ModelCard) -> None:
    assert kind_of(card) == card.kind


@pytest.mark.parametrize("card", [tiny_card(), tiny_code_card(), tiny_translation_card()], ids=lambda card: card.name)
def test_a_card_of_before_gets_the_graphs_that_its_kind_meant(card: models_pb2.ModelCard) -> None:
    before = models_pb2.ModelCard()
    before.CopyFrom(card)
    before.ClearField("graphs")
    fill_in_graphs(before)
    assert before == card
    fill_in_graphs(before)
    assert before == card


def test_a_condition_follows_the_order_of_the_graph() -> None:
    card = tiny_code_card()
    card.attributes.add(name="age", min=18, max=80)
    card.graphs[0].inputs[:] = ["latent", "age", "c1", "k1", "c2"]
    assert condition_inputs(card) == ["age", "c1", "k1", "c2"]
    assert condition_bounds(card) == [(18, 80), (-1, 1), (0, 1), (0, 1), (0, 1), (-1, 1)]
    assert neutral_condition(card) == [18, 0, 0, 0, 0, 0]


def test_a_model_takes_what_its_graphs_list() -> None:
    assert [name for name in ("latent", "class", "smile", "picture") if takes(tiny_attribute_card(), name)] == [
        "latent",
        "smile",
    ]
    assert takes(tiny_one_way_card(), "picture")
    assert condition_inputs(tiny_one_way_card()) == condition_inputs(tiny_unconditional_card()) == []


def test_the_domains_of_a_graph_are_its_direction() -> None:
    both = ways_of(tiny_translation_card())
    assert {way: graph.member for way, graph in both.items()} == {
        DIRECTION_A_TO_B: "a_to_b.pt2",
        DIRECTION_B_TO_A: "b_to_a.pt2",
    }
    assert list(ways_of(tiny_one_way_card())) == [DIRECTION_A_TO_B]
    assert ways_of(tiny_card()) == {}
