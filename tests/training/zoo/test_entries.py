"""The rows of the zoo: every objective is among them, and every one is a configuration that stands."""

import pytest

from training.config.gan import GanConfig
from training.objectives import OBJECTIVES
from training.recipes import find_recipe
from training.zoo.entries import ENTRIES, RECIPE


def config_of(name: str) -> GanConfig:
    config = find_recipe(RECIPE).config("fashion-mnist").changed(ENTRIES[name].all_settings)
    assert isinstance(config, GanConfig)
    return config


@pytest.mark.parametrize("name", ENTRIES)
def test_every_row_is_a_configuration_that_stands(name: str) -> None:
    assert config_of(name).batch == 64


def test_every_objective_has_a_row_but_that_which_learns_from_labelled_images_too() -> None:
    assert {config_of(name).objective for name in ENTRIES} == OBJECTIVES.keys() - {"classes"}


@pytest.mark.parametrize("name", ENTRIES)
def test_rows_with_labels_stand_in_their_own_table(name: str) -> None:
    assert (config_of(name).condition.kind == "label") is (ENTRIES[name].group == "conditions")
