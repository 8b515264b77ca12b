"""A model in a few words."""

from services.client.cards import summarise_image, summarise_inputs
from tests.archives import tiny_card, tiny_code_card, tiny_translation_card


def test_every_kind_says_what_it_takes() -> None:
    assert summarise_inputs(tiny_card()) == "3 classes"
    assert summarise_inputs(tiny_code_card()) == "shape (3), slant, c2"
    assert summarise_inputs(tiny_translation_card()) == "horse ↔ zebra"


def test_a_translation_model_takes_any_size() -> None:
    assert summarise_image(tiny_card(channels=3)) == "6×8×3"
    assert summarise_image(tiny_translation_card()) == "any×3"
