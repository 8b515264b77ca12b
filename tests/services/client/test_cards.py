"""A model in a few words."""

import pytest

from gantry.v1 import models_pb2
from services.client.cards import summarise_image, summarise_inputs
from services.worker.inputs import fill_in_graphs
from tests.archives import (
    ONE_WAY_DOMAINS,
    tiny_attribute_card,
    tiny_card,
    tiny_code_card,
    tiny_translation_card,
    tiny_unconditional_card,
)


def one_way_card() -> models_pb2.ModelCard:
    card = tiny_translation_card(domains=ONE_WAY_DOMAINS)
    fill_in_graphs(card)
    del card.graphs[1]
    return card


def with_inputs(card: models_pb2.ModelCard, *inputs: str) -> models_pb2.ModelCard:
    del card.graphs[:]
    card.graphs.add(member="model.pt2", inputs=inputs)
    return card


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (tiny_card(), "3 classes"),
        (tiny_code_card(), "shape (3), slant, c2"),
        (tiny_translation_card(), "horse ↔ zebra"),
        (one_way_card(), "sketch → photo"),
        (with_inputs(tiny_unconditional_card(), "latent"), "latent only"),
        (with_inputs(tiny_attribute_card(), "latent", "age", "smile"), "age 18..80, smile 0..1"),
    ],
)
def test_every_model_says_what_it_takes(card: models_pb2.ModelCard, words: str) -> None:
    fill_in_graphs(card)
    assert summarise_inputs(card) == words


def test_a_translation_model_takes_any_size() -> None:
    assert summarise_image(tiny_card(channels=3)) == "6×8×3"
    assert summarise_image(tiny_translation_card()) == "any×3"
