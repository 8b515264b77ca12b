"""Every recipe, whatever stands in the table: what it says, what its settings are, and that it trains."""

import inspect
import sys

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tests.training.tiny import build, dataset_for, dots, narrowed, take_step
from training import recipes
from training.archive.package import list_graphs
from training.config import ConfigError
from training.config.gan import GanConfig
from training.config.paired import PairedConfig
from training.config.translation import TranslationConfig
from training.data import DATASETS
from training.nets.attention import SelfAttention
from training.recipes import RECIPES, find_recipe, parse_config

LINES = 40
"""That a recipe may have, with its share of its module."""

ARCHIVE_LIMITS = {GanConfig: 8_000_000, TranslationConfig: 24_000_000, PairedConfig: 12_000_000}
"""Bytes that a shipped archive may have, weights in float32."""

SHIPPED = [
    ("cgan", "mnist"), ("cgan", "fashion-mnist"), ("cgan", "digits"), ("infogan", "mnist"), ("infogan", "digits"),
    ("dcgan", "mnist"), ("cyclegan-lite", "horse2zebra"), ("pix2pix", "emoji"),
]  # fmt: skip

EVERY = [(name, data) for name, each in RECIPES.items() for data in dict.fromkeys([each.defaults.data, *each.on])]
"""Every recipe with each data set that it has settings for."""


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_found_by_its_name_and_says_what_it_is(name: str) -> None:
    recipe = find_recipe(name)
    assert recipe.defaults.recipe == recipe.config().recipe == name
    assert "arXiv:" in recipe.paper
    assert recipe.line
    assert "\n" not in recipe.line
    assert len(recipe.line) < 120


def test_a_module_has_few_lines_for_each_of_its_recipes() -> None:
    modules = {}
    for name, module in sys.modules.items():
        if name.startswith(recipes.__name__ + "."):
            of_module = [value for value in vars(module).values() if isinstance(value, recipes.Recipe)]
            modules[module] = len(of_module)
    assert sum(modules.values()) == len(RECIPES)
    for module, count in modules.items():
        lines = [line for line in inspect.getsource(module).splitlines() if line]
        assert len(lines) <= LINES * max(1, count), module.__name__


@pytest.mark.parametrize(("name", "data"), EVERY)
def test_every_configuration_survives_json_and_flat_names(name: str, data: str) -> None:
    config = find_recipe(name).config(data)
    assert config.data == data
    for text in (config.model_dump_json(), config.model_dump_json().encode(), config.model_dump_json(indent=2)):
        read = parse_config(text)
        assert type(read) is type(config)
        assert read == config
    assert config.changed({}) == config
    assert config.changed(config.flat()) == config
    assert type(config).parse(config.model_dump()) == config
    texts = {key: str(value) for key, value in config.flat().items() if isinstance(value, int | float)}
    assert config.changed(texts) == config


@pytest.mark.parametrize(("name", "data"), EVERY)
def test_the_settings_for_a_data_set_are_those_it_has(name: str, data: str) -> None:
    recipe = find_recipe(name)
    config = recipe.config(data)
    assert config.changed({**recipe.on.get(data, {})}) == config
    if config.info_type is GanConfig.info_type:
        assert data in DATASETS


@pytest.mark.parametrize("name", RECIPES)
def test_other_data_leave_the_defaults(name: str) -> None:
    recipe = find_recipe(name)
    assert recipe.config("my pictures") == recipe.defaults.changed({"data": "my pictures"})


@pytest.mark.parametrize(("name", "data"), EVERY)
def test_every_recipe_builds_and_takes_steps(name: str, data: str) -> None:
    config = narrowed(find_recipe(name).config(data))
    model = build(config)
    for step in range(2):
        report = take_step(model, step)
        assert {f"{phase.name}/loss" for phase in model.phases} <= report.keys()
        assert all(value.isfinite() for value in report.values()), report
    model.sample_grid(model.generator)


@pytest.mark.parametrize("name", RECIPES)
def test_the_net_that_is_kept_is_that_of_the_model_and_has_the_cards_graphs(name: str) -> None:
    config = narrowed(find_recipe(name).config())
    data = dataset_for(config)
    kept = config.build_generator(data.info)
    kept.load_state_dict(build(config, data).generator.state_dict())
    card = config.card(data.info, None)
    list_graphs(card, config.graphs(kept))
    assert [graph.member for graph in card.graphs] == list(config.graphs(kept))
    assert all(graph.inputs for graph in card.graphs)
    assert card.description


@pytest.mark.parametrize("name", RECIPES)
def test_the_same_seed_gives_the_same_two_steps_and_another_seed_others(name: str) -> None:
    reports = []
    for seed in (1, 1, 2):
        model = build(narrowed(find_recipe(name).config(), seed=seed))
        reports.append([take_step(model, step) for step in range(2)])
    assert reports[0] == reports[1]
    assert reports[0] != reports[2]


def bytes_of_generator(name: str, data: str) -> int:
    config = find_recipe(name).config(data)
    info = dots(size=28, classes=10).info if isinstance(config, GanConfig) else dataset_for(config).info
    with torch.device("meta"):
        generator = config.build_generator(info)
    return sum(4 * value.numel() for value in generator.state_dict().values())


@pytest.mark.parametrize(("name", "data"), SHIPPED)
def test_every_generator_that_ships_fits_its_archive(name: str, data: str) -> None:
    assert bytes_of_generator(name, data) < ARCHIVE_LIMITS[type(find_recipe(name).config(data))] * 0.9


def test_cyclegan_is_the_papers() -> None:
    """9 blocks of width 64 for 256 pixels: 11.4 million weights each, too many for an archive that ships."""
    config = find_recipe("cyclegan").config()
    assert (config.generator.blocks, config.generator.width, config.crop.size, config.pool) == (9, 64, 256, 50)
    assert 11.3e6 < bytes_of_generator("cyclegan", "horse2zebra") / 4 / 2 < 11.5e6
    assert config.total_images == 200 * 1_334  # epochs of the longer domain
    assert (config.batch, config.optimizer.decay_start, config.optimizer.generator_lr) == (1, 0.5, 2e-4)
    assert 2 * config.cycle_weight == 10  # our least squares are halves
    assert (config.domain_a, config.domain_b) == ("horse", "zebra")


def test_dcgan_is_the_papers() -> None:
    """Its layers, first weights of deviation 0.02, batch normalisation but at the discriminator's first layer."""
    config = find_recipe("dcgan").config()
    info = dots(size=28).info
    torch.manual_seed(0)
    generator, discriminator = config.build_generator(info), config.build_discriminator(info)
    for net in (generator, discriminator):
        weights = [m.weight for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
        assert torch.cat([weight.flatten() for weight in weights]).std().item() == pytest.approx(0.02, rel=0.01)
    assert (config.generator.kind, config.discriminator.kind) == ("dcgan", "dcgan")
    strided = [m for m in generator.modules() if isinstance(m, nn.ConvTranspose2d)]
    strided += [m for m in discriminator.trunk.modules() if isinstance(m, nn.Conv2d)]
    assert {(layer.kernel_size, layer.stride) for layer in strided} == {((4, 4), (2, 2))}
    first, *others = discriminator.trunk.norms
    assert isinstance(first, nn.Identity)
    assert others
    assert all(isinstance(norm, nn.BatchNorm2d) for norm in others)
    assert any(isinstance(module, nn.BatchNorm2d) for module in generator.modules())
    rates = config.optimizer
    assert (config.latent_size, rates.generator_lr, rates.discriminator_lr, rates.beta1) == (100, 2e-4, 2e-4, 0.5)


def test_sagan_and_biggan_are_the_papers_but_for_their_size() -> None:
    info = dots(size=28, classes=10).info
    for recipe, slots, embedding in (("sagan", 1, 10), ("biggan", 3, 128)):
        config = find_recipe(recipe).config()
        torch.manual_seed(0)
        generator, discriminator = config.build_generator(info), config.build_discriminator(info)
        assert config.objective == "hinge"
        assert discriminator.projection is not None
        gains = [block.norms[0].modulation.in_features for block in generator.blocks]
        assert gains == [embedding + (config.latent_size // slots if slots > 1 else 0)] * 2
        assert generator.project.in_features == config.latent_size // slots
        attentions = [m for net in (generator, discriminator) for m in net.modules() if isinstance(m, SelfAttention)]
        assert len(attentions) == (2 if recipe == "sagan" else 0)
        for net in (generator, discriminator):
            layers = {name: m for name, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
            free = {name for name, layer in layers.items() if not hasattr(layer, "parametrizations")}
            assert free <= {"given.embedding"}


def test_r3gan_is_the_papers_but_for_its_size() -> None:
    config = find_recipe("r3gan").config()
    assert (config.objective, config.terms.keys()) == ("relativistic", {"r1", "r2"})
    assert config.terms["r1"].weight == config.terms["r2"].weight
    assert (config.latent_size, config.optimizer.beta1, config.optimizer.beta2) == (64, 0, 0.99)
    assert (config.generator.kind, config.discriminator.kind) == ("r3gan", "r3gan")


@pytest.mark.parametrize("name", [name for name, each in RECIPES.items() if isinstance(each.defaults, GanConfig)])
def test_the_nets_of_a_recipe_fit_own_pictures_of_64_pixels(name: str) -> None:
    config, info = find_recipe(name).config("my pictures"), dots(size=64, channels=3).info
    with torch.device("meta"):
        config.build_generator(info)
        config.build_discriminator(info)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"there is no recipe 'vae'; there are cgan, infogan, .*: see `gantry train --list"
    ):
        find_recipe("vae")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON: "),
        ("[]", "not a configuration of this version"),
        ("{}", "not a configuration of this version"),
        ('{"family": "cgan"}', "not a configuration of this version"),
        ('{"recipe": "vae"}', "there is no recipe 'vae'; there are cgan"),
        ('{"recipe": ["cgan"]}', "there is no recipe "),
        ('{"recipe": "cgan"}', "data: is missing; total_images: is missing"),
        (b"\xff", "not JSON: "),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(text, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert str(caught.value).startswith(message)


def test_a_recipe_takes_no_settings_of_another() -> None:
    text = find_recipe("cyclegan").config().model_dump_json().replace('"recipe":"cyclegan"', '"recipe":"cgan"')
    with pytest.raises(ConfigError, match="--set domain_a: there is no setting of this name"):
        parse_config(text)


def test_a_configuration_cannot_be_altered() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        find_recipe("cgan").defaults.batch = 3
