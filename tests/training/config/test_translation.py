"""The settings of two translators: data and domains of any name, and crops that fit."""

import pytest
from torch import nn

from tests.training.tiny import noise
from training.archive.package import list_graphs
from training.config import ConfigError
from training.nets.translator import TranslatorPair
from training.objectives import OBJECTIVES, Objective
from training.recipes import find_recipe

CYCLEGAN = find_recipe("cyclegan").config()


def test_data_and_domains_may_have_any_name() -> None:
    config = CYCLEGAN.changed({"data": "my photos", "domain_a": "summer", "domain_b": "winter"})
    assert (config.data, config.domain_a, config.domain_b) == ("my photos", "summer", "winter")


def test_one_picture_of_each_domain_is_a_batch() -> None:
    assert CYCLEGAN.changed({"batch": "1"}).batch == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"domain_a": "zebra"},
            "--set domain_a and domain_b are both 'zebra': they must differ, since callers name a direction by them",
        ),
        ({"domain_a": ""}, "--set domain_a=: must not be empty"),
        ({"data": ""}, "--data : must be a name, without /"),
        (
            {"crop.size": 256, "crop.min_side": 128},
            "--set crop.size 256, crop.min_side 128, crop.max_side 286: none may be less than the one before it",
        ),
        ({"crop.size": 130}, "--set crop.size=130: must be a multiple of 4"),
        ({"crop.size": 16}, "--set crop.size=16: must be at least 32"),
        ({"generator.upsampling": "bilinear"}, "--set generator.upsampling=bilinear: must be 'transposed' or"),
        ({"generator.blocks": 0}, "--set generator.blocks=0:"),
        ({"pool": -1}, "--set pool=-1:"),
        ({"critic_steps": 2}, "--set critic_steps: there is no setting of this name"),
    ],
)
def test_a_bad_setting_is_refused_by_the_name_of_its_flag(settings, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CYCLEGAN.changed(settings)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("trait", [{"needs": frozenset({"lipschitz"})}, {"shows_real": True}])
def test_an_objective_that_does_not_fit_is_refused(trait, monkeypatch) -> None:
    known = OBJECTIVES["hinge"]
    monkeypatch.setitem(OBJECTIVES, "odd", Objective(known.discriminator, known.generator, line="", paper="", **trait))
    with pytest.raises(ConfigError) as caught:
        CYCLEGAN.changed({"objective": "odd"})
    said = str(caught.value)
    assert said.startswith("--set objective=odd: these discriminators do not provide what it needs; allowed: ")
    allowed = said.rpartition("allowed: ")[2].split(", ")
    assert "odd" not in allowed
    assert all(CYCLEGAN.changed({"objective": name}).objective == name for name in allowed)


def test_a_card_says_both_ways() -> None:
    config = CYCLEGAN.changed({"domain_a": "summer", "domain_b": "winter"})
    card = config.card(noise().info, None)
    pair = TranslatorPair(nn.Identity(), nn.Tanh())
    list_graphs(card, config.graphs(pair))
    ways = [(graph.member, list(graph.inputs), graph.source_domain, graph.target_domain) for graph in card.graphs]
    assert ways == [
        ("a_to_b.pt2", ["picture"], "summer", "winter"),
        ("b_to_a.pt2", ["picture"], "winter", "summer"),
    ]
    assert config.graphs(pair) == {"a_to_b.pt2": pair.a_to_b, "b_to_a.pt2": pair.b_to_a}
