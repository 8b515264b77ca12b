"""Names and versions to models."""

import random

import pytest

from gantry.v1 import models_pb2
from services.backends.base import ModelKey
from services.gateway.catalog import Catalog
from services.gateway.errors import InvalidRequestError, UnknownModelError
from tests.services.gateway.cards import tiny_card

# From https://semver.org, precedence rising.
VERSIONS = [
    "0.9.12",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.9.0",
    "1.10.0",
    # A build has the precedence of its version: the text decides.
    "1.10.0+5-a.b",
    "10.0.0",
]
MODELS_LATER = [("tiny", "1.10.0"), ("tiny", "1.0.0")]


def catalog_of(*names: tuple[str, str]) -> Catalog:
    return Catalog({ModelKey(*name): models_pb2.LoadedModel(card=tiny_card(*name)) for name in names})


def test_versions_are_ordered_as_semver_orders_them() -> None:
    shuffled = random.Random(0).sample(VERSIONS, len(VERSIONS))
    catalog = catalog_of(*(("tiny", version) for version in shuffled))
    assert [loaded.card.version for loaded in catalog] == VERSIONS


def test_without_a_version_the_newest_is_meant() -> None:
    catalog = catalog_of(("tiny", "1.10.0"), ("tiny", "1.9.0"), ("tiny", "1.10.0-rc.1"), ("other", "2.0.0"))
    assert catalog.find("tiny", "", "model").card.version == "1.10.0"
    assert catalog.find("tiny", "1.9.0", "model").card.version == "1.9.0"


def test_models_come_and_go() -> None:
    catalog = catalog_of(("tiny", "1.0.0"), ("left", "1.0.0"))
    catalog.follow({ModelKey(*name): models_pb2.LoadedModel(card=tiny_card(*name)) for name in MODELS_LATER})
    assert catalog.find("tiny", "", "model").card.version == "1.10.0"
    with pytest.raises(UnknownModelError, match=r"^model 'left' is not loaded; loaded: tiny$"):
        catalog.find("left", "", "model")


def test_models_are_ordered_by_name() -> None:
    catalog = catalog_of(("zebra", "1.0.0"), ("apple", "2.0.0"), ("mule", "1.0.0"))
    assert [loaded.card.name for loaded in catalog] == ["apple", "mule", "zebra"]


def test_an_unknown_model_is_told_what_is_loaded() -> None:
    catalog = catalog_of(("tiny", "1.0.0"), ("tiny", "1.1.0"), ("other", "1.0.0"))
    with pytest.raises(UnknownModelError, match=r"^model 'nope' is not loaded; loaded: other, tiny$"):
        catalog.find("nope", "", "model")
    with pytest.raises(UnknownModelError, match=r"^model tiny has no version '2'; loaded versions: 1\.0\.0, 1\.1\.0$"):
        catalog.find("tiny", "2", "model")
    with pytest.raises(UnknownModelError, match=r"loaded: none$"):
        catalog_of().find("nope", "", "model")


def test_an_empty_name_is_a_violation_of_its_field() -> None:
    with pytest.raises(InvalidRequestError) as error:
        catalog_of(("tiny", "1.0.0")).find("", "", "sample.model")
    assert error.value.violations == (("sample.model", "required; loaded: tiny"),)


def test_a_long_name_is_not_repeated_in_full() -> None:
    with pytest.raises(UnknownModelError) as error:
        catalog_of(("tiny", "1.0.0")).find("x" * 100_000, "", "model")
    assert len(str(error.value)) < 200
