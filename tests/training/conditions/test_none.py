"""Pictures from latents alone."""

import torch

from tests.training.tiny import dots
from training.conditions import NoCondition

INFO = dots().info


def test_the_generator_is_given_nothing_and_the_discriminator_no_head() -> None:
    condition = NoCondition()
    draws = condition.draw({"labels": torch.tensor([0, 1])}, 2, torch.Generator())
    assert draws == {}
    assert condition.vector(draws, INFO) is None
    assert condition.size(INFO) == 0
    assert condition.heads(8) == {}


def test_a_tick_shows_a_square_of_other_samples() -> None:
    shown = NoCondition().showcase(INFO, 5, torch.Generator().manual_seed(0))
    assert shown.latents.shape == (100, 5)
    assert shown.columns == 10
    assert len(shown.latents.unique(dim=0)) == 100


def test_the_card_is_of_an_unconditional_model() -> None:
    card = NoCondition().card(INFO, None)
    assert not card.classes
    assert not card.categorical_codes
    assert card.description == "Makes 8×8 images like those of dots."
