"""A CycleGAN's settings: data and domains of any name, and crops that fit."""

import pytest

from training.config import ConfigError
from training.presets import horse2zebra


def test_data_and_domains_may_have_any_name() -> None:
    config = horse2zebra().changed({"data": "my photos", "domain_a": "summer", "domain_b": "winter"})
    assert (config.data, config.domain_a, config.domain_b) == ("my photos", "summer", "winter")


def test_one_picture_of_each_domain_is_a_batch() -> None:
    assert horse2zebra().changed({"batch": "1"}).batch == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"domain_a": "zebra"},
            "--set domain_a and domain_b are both 'zebra': they must differ, since callers name a direction by them",
        ),
        ({"domain_a": ""}, "--set domain_a : String should have at least 1 character"),
        ({"data": ""}, "--data : String should have at least 1 character"),
        (
            {"crop.size": 256, "crop.min_side": 128},
            "--set crop.size 256, crop.min_side 128, crop.max_side 286: none may be less than the one before it",
        ),
        ({"crop.size": 130}, "--set crop.size 130: Input should be a multiple of 4"),
        ({"crop.size": 16}, "--set crop.size 16: Input should be greater than or equal to 32"),
        ({"generator.upsampling": "bilinear"}, "--set generator.upsampling bilinear: Input should be 'transposed' or"),
        ({"generator.blocks": 0}, "--set generator.blocks 0:"),
        ({"pool": -1}, "--set pool -1:"),
        ({"codes.noise": 62}, "--set codes.noise: there is no setting of this name"),
    ],
)
def test_a_bad_setting_is_refused_by_the_name_of_its_flag(settings, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        horse2zebra().changed(settings)
    assert str(caught.value).startswith(message)
