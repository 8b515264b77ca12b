"""The presets that ship."""

import pytest
import torch

from training.config import ConfigError, CycleGanConfig
from training.data import DATASETS, DatasetInfo, UnpairedInfo
from training.presets import PRESETS, preset
from training.steps import FAMILIES

ARCHIVE_LIMITS = {"cgan": 8_000_000, "infogan": 8_000_000, "cyclegan": 24_000_000}
"""Bytes that a shipped archive may have, weights in float32."""


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_named_by_its_data_and_all_its_settings_are_valid(name: str) -> None:
    config = preset(name)
    assert name.startswith(config.data)
    assert config.changed(config.flat()) == config
    if not isinstance(config, CycleGanConfig):
        assert name == f"{config.data}-{config.family}"
        assert config.data in DATASETS


def bytes_of_generator(name: str) -> int:
    config = preset(name)
    info = DatasetInfo(config.data, channels=1, size=28, class_names=tuple("abcdefghij"), licence="", images=1)
    if isinstance(config, CycleGanConfig):
        info = UnpairedInfo(config.data, licence="", images=1)
    with torch.device("meta"):
        generator = FAMILIES[config.family].build_generator(config, info)
    return sum(4 * value.numel() for value in generator.state_dict().values())


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "horse2zebra"])
def test_every_generator_fits_its_archive(name: str) -> None:
    assert bytes_of_generator(name) < ARCHIVE_LIMITS[preset(name).family] * 0.9


def test_horse2zebra_is_the_papers_net() -> None:
    """9 blocks of width 64 for 256 pixels: 11.4 million weights each, too many for an archive that ships."""
    config = preset("horse2zebra")
    assert (config.generator.blocks, config.generator.width, config.crop.size, config.pool) == (9, 64, 256, 50)
    assert 11.3e6 < bytes_of_generator("horse2zebra") / 4 / 2 < 11.5e6


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"--preset cats-cgan: there is none of this name; there are digits-cgan, mn"):
        preset("cats-cgan")
