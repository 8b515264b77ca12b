"""A cgan's settings: the label must enter, and must not be told to the classifier that guesses it."""

import pytest

from training.config import ConfigError
from training.presets import mnist_cgan


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"discriminator.concat": False, "discriminator.projection": False},
            "the discriminator must learn of the label: --set discriminator.concat=true",
        ),
        ({"classifier_weight": 0.5}, "needs --set discriminator.concat=false"),
        ({"data": "cats"}, "--data cats: Input should be 'digits', 'mnist' or 'fashion-mnist'"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_the_name_of_its_flag(settings, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        mnist_cgan().changed(settings)
    assert message in str(caught.value)
