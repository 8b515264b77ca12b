"""Twenty steps of every recipe lose what they lost when it was written: a changed number is a changed recipe."""

import json

import pytest

from tests.training.recipes.golden import PATH, losses_of
from training.recipes import RECIPES

GOLDEN = json.loads(PATH.read_text())

ROUNDING = {"rel": 0.02, "abs": 0.01}
"""Other processors and versions of torch round otherwise, and twenty steps enlarge that; a wrong sign, weight or order
of the phases makes far more."""


def test_every_recipe_is_written_down() -> None:
    assert GOLDEN.keys() == RECIPES.keys()


@pytest.mark.parametrize("name", RECIPES)
def test_twenty_steps_lose_what_they_lost(name: str) -> None:
    losses = losses_of(name)
    assert losses.keys() == GOLDEN[name].keys()
    for phase, values in losses.items():
        assert values == pytest.approx(GOLDEN[name][phase], **ROUNDING), phase
