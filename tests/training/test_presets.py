"""The presets that ship."""

import pytest
import torch

from training.config import ConfigError
from training.data import DATASETS, DatasetInfo
from training.presets import PRESETS, preset
from training.steps import GENERATORS

ARCHIVE_LIMIT = 8_000_000  # bytes that a shipped archive may have, weights in float32


@pytest.mark.parametrize("key", PRESETS)
def test_every_preset_is_for_its_key_and_for_data_that_exist(key: tuple[str, str]) -> None:
    config = preset(*key)
    assert (config.family, config.data) == key
    assert config.data in DATASETS


@pytest.mark.parametrize("key", PRESETS)
def test_every_generator_fits_its_archive(key: tuple[str, str]) -> None:
    config = preset(*key)
    info = DatasetInfo(config.data, channels=1, size=28, class_names=tuple("abcdefghij"), licence="", images=1)
    with torch.device("meta"):
        generator = GENERATORS[config.family](config, info)
    assert sum(4 * value.numel() for value in generator.state_dict().values()) < ARCHIVE_LIMIT * 0.9


def test_an_unknown_pair_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no preset for cgan --data cats; there are: cgan --data digits, cgan"):
        preset("cgan", "cats")
