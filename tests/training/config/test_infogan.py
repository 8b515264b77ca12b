"""An InfoGAN's settings: codes of any number and size, also given as a text."""

import pytest

from training.config import ConfigError
from training.presets import digits_infogan, mnist_infogan


def test_the_default_codes_are_those_of_the_paper() -> None:
    codes = mnist_infogan().codes
    assert (codes.noise, codes.categorical, codes.continuous) == (62, (10,), (1, 1))


@pytest.mark.parametrize(
    ("text", "values"), [("10,3", (10, 3)), ("7", (7,)), (" 4 , 2 ", (4, 2)), ("", ()), ((5,), (5,)), ([2, 3], (2, 3))]
)
def test_codes_can_be_given_as_a_text(text, values: tuple[int, ...]) -> None:
    assert digits_infogan().changed({"codes.categorical": text}).codes.categorical == values


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"codes.categorical": "10,1"}, "--set codes.categorical.1 1: Input should be greater than or equal to 2"),
        ({"codes.continuous": "0"}, "--set codes.continuous.0 0: Input should be greater than or equal to 1"),
        ({"codes.continuous": "two"}, "--set codes.continuous.0 two: Input should be a valid integer"),
        ({"codes.noise": 0}, "--set codes.noise 0: Input should be greater than or equal to 1"),
        (
            {"codes.categorical": "", "invariance_weight": 2},
            "--set invariance_weight 2 needs a categorical code: give --set invariance_weight=0 or codes.",
        ),
        (
            {"codes.continuous": "", "equivariance_weight": 2},
            "--set equivariance_weight 2 needs a continuous code: give --set equivariance_weight=0 or codes.",
        ),
        (
            {"codes.categorical": "", "codes.continuous": ""},
            "--set codes.categorical or codes.continuous: there must be at least one code",
        ),
    ],
)
def test_bad_codes_are_refused_by_the_name_of_their_flag(settings, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        mnist_infogan().changed(settings)
    assert str(caught.value).startswith(message)
