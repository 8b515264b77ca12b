"""The settings of one translator from pairs: its direction, its card, and crops that its net can halve."""

import pytest
from torch import nn

from tests.training.tiny import pairs
from training.archive.package import list_graphs
from training.config import ConfigError
from training.recipes import find_recipe

PIX2PIX = find_recipe("pix2pix").config("mine")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"crop.size": 128, "crop.min_side": 128},
            "--set crop.size=128: must be a multiple of 256, since the generator halves it 8 times (--set generator.de",
        ),
        ({"direction": "both"}, "--set direction=both: must be 'a_to_b' or 'b_to_a'"),
        ({"domain_a": "B"}, "--set domain_a and domain_b are both 'B': they must differ"),
        ({"l1_weight": -1}, "--set l1_weight=-1: must be at least 0"),
        ({"generator.depth": 9}, "--set generator.depth=9: must be at most 8"),
        ({"generator.norm": "layer"}, "--set generator.norm=layer: must be 'instance' or 'batch'"),
        ({"generator.dropout": 1}, "--set generator.dropout=1: must be less than 1"),
        ({"discriminator.halvings": 6}, "--set discriminator.halvings=6: must be at most 5"),
        ({"objective": "wasserstein"}, "--set objective=wasserstein: these discriminators do not provide what it"),
        ({"objective": "relativistic"}, "--set objective=relativistic: these discriminators do not provide what it"),
        ({"cycle_weight": 5}, "--set cycle_weight: there is no setting of this name"),
    ],
)
def test_a_bad_setting_is_refused_by_the_name_of_its_flag(settings, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PIX2PIX.changed(settings)
    assert str(caught.value).startswith(message)


def test_the_default_is_the_papers() -> None:
    generator, rates = PIX2PIX.generator, PIX2PIX.optimizer
    assert (generator.width, generator.depth, generator.dropout, PIX2PIX.discriminator.halvings) == (64, 8, 0.5, 3)
    assert (PIX2PIX.batch, PIX2PIX.l1_weight, PIX2PIX.objective) == (1, 100, "non_saturating")
    assert (PIX2PIX.crop.size, PIX2PIX.crop.min_side, PIX2PIX.crop.max_side, PIX2PIX.crop.mirror) == (256, 286, 286, 1)
    assert (rates.generator_lr, rates.discriminator_lr, rates.beta1, rates.beta2) == (2e-4, 2e-4, 0.5, 0.999)


def test_emoji_are_not_mirrored() -> None:
    assert not find_recipe("pix2pix").config("emoji").crop.mirror


@pytest.mark.parametrize(("direction", "ways"), [("a_to_b", ("map", "photo")), ("b_to_a", ("photo", "map"))])
def test_a_card_says_the_one_way_and_what_sides_are_padded_to(direction: str, ways: tuple[str, str]) -> None:
    names = {"domain_a": "map", "domain_b": "photo", "direction": direction}
    config = PIX2PIX.changed({**names, "generator.depth": 6})
    card, net = config.card(pairs().info, None), nn.ModuleDict({direction: nn.Identity()})
    list_graphs(card, config.graphs(net))
    assert [(graph.member, list(graph.inputs), graph.source_domain, graph.target_domain) for graph in card.graphs] == [
        (f"{direction}.pt2", ["picture"], *ways)
    ]
    assert (card.translation.multiple, card.translation.trained_side) == (64, 256)
    assert f"{ways[0]} into the domain {ways[1]}" in card.description
    assert config.graphs(net) == {f"{direction}.pt2": net[direction]}
