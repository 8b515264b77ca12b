"""The class of an image as what a generator is given."""

import torch

from tests.training.tiny import dots
from training.conditions import LabelCondition

INFO = dots(classes=3).info


def test_samples_are_of_the_classes_of_the_real_images_and_one_at_their_class() -> None:
    condition, labels = LabelCondition(), torch.tensor([2, 0])
    draws = condition.draw({"labels": labels}, 2, torch.Generator())
    assert torch.equal(draws["labels"], labels)
    assert condition.vector(draws, INFO).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert condition.size(INFO) == 3


def test_one_class_is_a_number_that_is_always_one() -> None:
    condition, info = LabelCondition(), dots(classes=1).info
    assert condition.vector({"labels": torch.zeros(4, dtype=torch.int64)}, info).tolist() == [[1.0]] * 4


def test_a_tick_shows_a_row_for_each_class() -> None:
    shown = LabelCondition().showcase(INFO, 5, torch.Generator().manual_seed(0))
    assert shown.draws["labels"].view(3, shown.columns).tolist() == [[row] * 10 for row in range(3)]
    assert len(shown.latents.unique(dim=0)) == 30


def test_the_card_lists_the_classes_in_the_order_of_their_labels() -> None:
    card = LabelCondition().card(INFO, None)
    assert [(one.id, one.name) for one in card.classes] == list(enumerate(INFO.class_names))
