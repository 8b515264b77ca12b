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
        ({"batch": 1}, "--batch 1: must be at least 2"),
        ({"total_images": 0}, "--images 0:"),
        ({"precision": "float16"}, "--precision float16: must be 'auto', 'float32' or 'bfloat16'"),
        ({"size": 30}, "--size 30: must be 28, 32, 64, 80, 96 or 128"),
        ({"size": "large"}, "--size large: must be 28, 32, 64, 80, 96 or 128"),
        ({"data": ""}, "--data : must be a name, without /"),
        ({"data": "../elsewhere"}, "--data ../elsewhere: must be a name, without /"),
        ({"data": ".."}, "--data ..: must be a name, without /"),
        ({"generator.width": "wide"}, "--set generator.width=wide: must be a whole number"),
        ({"generator.depth": 3}, "--set generator.depth: there is no setting of this name"),
        (
            {"generator.widht": 3},
            "--set generator.widht: there is no setting of this name; did you mean generator.width?",
        ),
        (
            {"condition": "label"},
            "--set condition=label: a group of settings; to choose its kind, --set condition.kind=label",
        ),
        ({"generator": 5}, "--set generator=5: a group of settings"),
        ({"critic.width": 3}, "--set critic: there is no setting of this name"),
        ({"critic": 3}, "--set critic: there is no setting of this name"),
        ({"seed.x": 3}, "--set seed.x: there is no setting of this name"),
        ({"": 3}, "--set : there is no setting of this name"),
        ({"..": 3}, "--set : there is no setting of this name"),
        ({"tick": 10, "batch": 64}, "--tick 10 is less than one step's images: give at least 64"),
        ({"tick": 300, "batch": 64, "critic_steps": 5}, "--tick 300 is less than one step's images: give at least 320"),
        ({"ema.half_life": "inf"}, "--set ema.half_life=inf: must be a finite number"),
        ({"optimizer.beta1": "nan"}, "--set optimizer.beta1=nan: must be a finite number"),
        ({"recipe": "infogan"}, "--set recipe=infogan: name the recipe as in `gantry train cgan`"),
    ],
)
def test_a_bad_setting_is_refused_by_the_name_of_its_flag(settings, message: str) -> None:
    said = refusal(CGAN, **settings)
    assert message in said
    assert "\n" not in said


def test_two_bad_settings_are_both_named() -> None:
    with pytest.raises(ConfigError, match=r"--batch 0: .*; --set optimizer.beta1=2"):
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
    said = refusal(INFOGAN, **{"condition.kind": "text"})
    assert said.startswith("--set condition.kind=text: must be one of 'none', 'label', 'attributes', 'codes'")
