"""The configuration: changing settings by name, and messages that name the flag."""

import pytest

from training.config import ConfigError
from training.presets import mnist_cgan


def test_changes_reach_nested_settings_and_read_texts() -> None:
    changed = mnist_cgan().changed({"batch": "32", "generator.width": "48", "discriminator.projection": "false"})
    assert changed.batch == 32
    assert changed.generator.width == 48
    assert changed.discriminator.projection is False
    assert changed.optimizer == mnist_cgan().optimizer


def test_flat_names_are_those_that_changed_takes() -> None:
    config = mnist_cgan()
    assert config.changed(config.flat()) == config
    assert config.flat()["ema.half_life"] == config.ema.half_life


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 1}, "--batch 1: Input should be greater than or equal to 2"),
        ({"images": 0}, "--images 0:"),
        ({"precision": "float16"}, "--precision float16: Input should be 'auto', 'float32' or 'bfloat16'"),
        ({"generator.width": "wide"}, "--set generator.width wide: Input should be a valid integer"),
        ({"generator.depth": 3}, "--set generator.depth: there is no setting of this name"),
        ({"critic.width": 3}, "--set critic.width: there is no setting of this name"),
        ({"seed.x": 3}, "--set seed.x: there is no setting of this name"),
        ({"tick": 10, "batch": 64}, "--tick 10 is less than one --batch of 64"),
    ],
)
def test_a_bad_setting_is_refused_by_the_name_of_its_flag(settings, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        mnist_cgan().changed(settings)
    assert message in str(caught.value)


def test_two_bad_settings_are_both_named() -> None:
    with pytest.raises(ConfigError, match=r"--batch 0: .*; --set optimizer.beta1 2"):
        mnist_cgan().changed({"batch": 0, "optimizer.beta1": 2})
