"""The settings of a GAN: terms and objectives by name, and what comes of them."""

import pytest
from torch import nn

from tests.training.tiny import code_gan, dots, gan, label_gan
from training.archive.package import list_graphs
from training.config import ConfigError
from training.objectives import OBJECTIVES
from training.recipes import find_recipe, parse_config
from training.terms import TERMS
from training.terms.gradient_penalty import GradientPenalty


def refusal(config, **settings) -> str:
    with pytest.raises(ConfigError) as caught:
        config.changed(settings)
    return str(caught.value)


def test_a_term_is_added_by_its_weight() -> None:
    config = gan(discriminator__norm="layer")
    assert config.terms == {}
    changed = config.changed({"terms.gradient_penalty.weight": "5"})
    assert changed.terms == {"gradient_penalty": GradientPenalty(weight=5)}
    assert parse_config(changed.model_dump_json()) == changed


def test_a_term_of_no_weight_is_left_out() -> None:
    config = code_gan(terms__continuous_information__weight=0, terms__gradient_penalty__weight=0)
    for side in ("discriminator", "generator", None):
        assert list(config.terms_of(side)) == ["categorical_information"]
    assert "equivariance" not in gan(terms__equivariance__weight=0).terms_of()  # whose needs nothing provides


def test_a_term_belongs_to_its_sides() -> None:
    config = code_gan(terms__invariance__weight=1)
    assert "invariance" in config.terms_of("discriminator")
    assert "invariance" not in config.terms_of("generator")
    assert "categorical_information" in config.terms_of("generator")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"terms.r3.weight": 1}, f"--set terms.r3: there is nothing of this name; there are {', '.join(TERMS)}"),
        ({"terms.gradient_penalty.slope": 1}, "--set terms.gradient_penalty.slope: there is no setting of this name"),
        ({"terms.gradient_penalty.weight": "x"}, "--set terms.gradient_penalty.weight=x: must be a num"),
        ({"terms.gradient_penalty.weight": -1}, "--set terms.gradient_penalty.weight=-1: must be at least"),
        ({"terms.gradient_penalty.weight": "nan"}, "--set terms.gradient_penalty.weight=nan: must be a fin"),
        ({"terms.invariance.balance": 0}, "--set terms.invariance.balance=0: must be at least"),
        ({"terms.gradient_penalty": 5}, "--set terms.gradient_penalty=5: a group of settings"),
        ({"terms": 5}, "--set terms=5: a group of settings"),
        (
            {"objective": "vae"},
            f"--set objective=vae: there is none of this name; there are {', '.join(OBJECTIVES)}",
        ),
        ({"critic_steps": 0}, "--set critic_steps=0: must be at least 1"),
        ({"latent_size": 0}, "--set latent_size=0: must be at least 1"),
        ({"discriminator.norm": "group"}, "--set discriminator.norm=group: must be 'none', 'spectral', 'batch"),
    ],
)
def test_what_there_is_not_is_refused_by_its_name(settings, message: str) -> None:
    said = refusal(gan(), **settings)
    assert said.startswith(message)
    assert "\n" not in said


def test_one_step_shows_as_many_images_as_the_discriminator_sees() -> None:
    assert gan(critic_steps=3, batch=6).step_images == 18


@pytest.mark.parametrize(("config", "inputs"), [(gan(), []), (label_gan(), ["class"]), (code_gan(), None)])
def test_a_card_names_the_graphs_inputs(config, inputs) -> None:
    card = config.card(dots().info, None)
    list_graphs(card, config.graphs(nn.Identity()))
    (graph,) = card.graphs
    codes = ["k1", "k2", "c1", "c2", "c3"]
    assert (graph.member, list(graph.inputs)) == ("model.pt2", ["latent", *(codes if inputs is None else inputs)])
    assert (card.image.width, card.image.height, card.image.channels) == (8, 8, 1)
    assert card.latent.size == 5


def test_the_default_codes_are_those_of_the_paper() -> None:
    config = find_recipe("infogan").config("mnist")
    assert (config.latent_size, config.condition.categorical, config.condition.continuous) == (62, (10,), (1, 1))
