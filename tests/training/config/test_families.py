"""Reading the configuration of any family."""

import pytest
from pydantic import ValidationError

from training.config import CganConfig, CycleGanConfig, InfoGanConfig, parse_config
from training.presets import horse2zebra_lite, mnist_cgan, mnist_infogan


@pytest.mark.parametrize(
    ("config", "kind"),
    [(mnist_cgan(), CganConfig), (mnist_infogan(), InfoGanConfig), (horse2zebra_lite(), CycleGanConfig)],
    ids=["cgan", "infogan", "cyclegan"],
)
def test_every_family_survives_json_and_is_told_by_its_name(config, kind: type) -> None:
    read = parse_config(config.model_dump_json().encode())
    assert type(read) is kind
    assert read == config
    assert config.changed(config.flat()) == config


def test_a_family_takes_no_settings_of_another() -> None:
    text = mnist_infogan().model_dump_json().replace('"family":"infogan"', '"family":"cgan"')
    with pytest.raises(ValidationError, match="codes"):
        parse_config(text.encode())


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(ValidationError, match="vae"):
        parse_config(mnist_cgan().model_dump_json().replace('"cgan"', '"vae"').encode())
