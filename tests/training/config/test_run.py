"""The settings of every run: changing them by name, and messages that name the flag."""

import pytest

from training.config import ConfigError
from training.recipes import RECIPES, find_recipe

CGAN = find_recipe("cgan").config("mnist")
INFOGAN = find_recipe("infogan").config("mnist")


def refusal(config, **settings) -> str:
    with pytest.raises(ConfigError) as caught:
        config.changed(settings)
    return str(caught.value)


def test_changes_reach_nested_settings_and_read_texts() -> None:
    changed = CGAN.changed(
        {"batch": "32", "size": "64", "generator.width": "48", "discriminator.projection": "false", "compile": "true"}
    )
    assert (changed.batch, changed.size, changed.generator.width, changed.compile) == (32, 64, 48, True)
    assert changed.discriminator.projection is False
    assert changed.optimizer == CGAN.optimizer


@pytest.mark.parametrize("name", RECIPES)
def test_flat_names_are_those_that_changed_takes(name: str) -> None:
    config = RECIPES[name].config()
    assert config.changed(config.flat()) == config
    assert config.flat()["ema.half_life"] == config.ema.half_life


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 1}, "--batch 1: Input should be greater than or equal to 2"),
        ({"total_images": 0}, "--images 0:"),
        ({"precision": "float16"}, "--precision float16: Input should be 'auto', 'float32' or 'bfloat16'"),
        ({"size": 30}, "--size 30: Input should be 28, 32, 64 or 128"),
        ({"size": "large"}, "--size large: Input should be 28, 32, 64 or 128"),
        ({"data": ""}, "--data : String should have at least 1 character"),
        ({"generator.width": "wide"}, "--set generator.width wide: Input should be a valid integer"),
        ({"generator.depth": 3}, "--set generator.depth: there is no setting of this name"),
        ({"generator": 5}, "--set generator 5: Input should be a valid dictionary"),
        ({"critic.width": 3}, "--set critic: there is no setting of this name"),
        ({"critic": 3}, "--set critic: there is no setting of this name"),
        ({"seed.x": 3}, "--set seed.x: there is no setting of this name"),
        ({"": 3}, "--set : there is no setting of this name"),
        ({"..": 3}, "--set : there is no setting of this name"),
        ({"tick": 10, "batch": 64}, "--tick 10 is less than the 64 images of one step"),
        ({"tick": 300, "batch": 64, "critic_steps": 5}, "--tick 300 is less than the 320 images of one step"),
        ({"ema.half_life": "inf"}, "--set ema.half_life inf: Input should be a finite number"),
        ({"optimizer.beta1": "nan"}, "--set optimizer.beta1 nan: Input should be a finite number"),
        ({"recipe": "infogan"}, "--set recipe=infogan: name the recipe as in `gantry train cgan`"),
    ],
)
def test_a_bad_setting_is_refused_by_the_name_of_its_flag(settings, message: str) -> None:
    said = refusal(CGAN, **settings)
    assert message in said
    assert "\n" not in said


def test_two_bad_settings_are_both_named() -> None:
    with pytest.raises(ConfigError, match=r"--batch 0: .*; --set optimizer.beta1 2"):
        CGAN.changed({"batch": 0, "optimizer.beta1": 2})


def test_another_kind_of_condition_leaves_the_settings_of_the_kind_before() -> None:
    without = {f"terms.{name}.weight": 0 for name in INFOGAN.terms}
    changed = INFOGAN.changed({"discriminator.concat": True, "condition.kind": "label", **without})
    assert changed.condition.model_dump() == {"kind": "label"}


def test_settings_of_another_kind_may_come_before_it() -> None:
    changed = INFOGAN.changed({"condition.categorical": "7", "condition.kind": "codes"})
    assert changed.condition.categorical == (7,)
    given = {"condition.continuous": "2", "condition.kind": "codes", "terms.continuous_information.weight": 1}
    dcgan = find_recipe("dcgan").config().changed(given)
    assert dcgan.condition.continuous == (2,)


def test_an_unknown_kind_lists_those_there_are() -> None:
    said = refusal(INFOGAN, **{"condition.kind": "attributes"})
    assert said.startswith("--set condition.kind attributes: must be one of 'none', 'label', 'codes'")
