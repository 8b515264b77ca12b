"""The list of all that can be trained: every name is in it, and says what it is and where it is from."""

import pytest

from training.augmentations import AUGMENTATIONS
from training.listing import Row, rows
from training.objectives import OBJECTIVES
from training.recipes import RECIPES
from training.terms import TERMS

ROWS = list(rows())
OURS = {"--set condition.kind=none", "--set terms.attributes.weight=1", "--set augmentations.noise.sigma=0.1"}


def named(group: str) -> set[str]:
    return {row.choice for row in ROWS if row.group == group}


def test_every_name_of_every_table_is_listed() -> None:
    assert named("recipes") == RECIPES.keys()
    assert named("objectives") == {f"--set objective={name}" for name in OBJECTIVES}
    assert {choice.split(".")[1] for choice in named("terms")} == TERMS.keys()
    assert {choice.split(".")[1] for choice in named("augmentations")} == AUGMENTATIONS.keys()
    assert "--set generator.kind=residual" in named("generators")
    assert "--set discriminator.kind=autoencoder" in named("discriminators")
    assert "--set condition.kind=attributes" in named("conditions")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.choice)
def test_a_row_says_what_it_is_and_where_it_is_from(row: Row) -> None:
    assert 10 < len(row.line) < 180
    assert "arXiv:" in row.paper or row.choice in OURS


def test_no_choice_is_listed_twice() -> None:
    assert len({(row.group, row.choice) for row in ROWS}) == len(ROWS)
