"""What can be trained: each recipe is a declaration, and one table holds them all."""

import json

from training.config import ConfigError, RunConfig
from training.recipes.biggan import BIGGAN
from training.recipes.cgan import CGAN
from training.recipes.cyclegan import CYCLEGAN, CYCLEGAN_LITE
from training.recipes.dcgan import DCGAN
from training.recipes.gan import GAN
from training.recipes.infogan import INFOGAN
from training.recipes.letters import LETTERS
from training.recipes.pix2pix import PIX2PIX
from training.recipes.r3gan import R3GAN
from training.recipes.recipe import Recipe
from training.recipes.sagan import SAGAN
from training.recipes.sngan import SNGAN
from training.recipes.wgan_gp import WGAN_GP

RECIPES: dict[str, Recipe] = {
    recipe.defaults.recipe: recipe
    for recipe in (
        CGAN, INFOGAN, GAN, DCGAN, WGAN_GP, SNGAN, SAGAN, BIGGAN, R3GAN, LETTERS, CYCLEGAN, CYCLEGAN_LITE, PIX2PIX,
    )
}  # fmt: skip
"""Every recipe by its name."""


def find_recipe(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        ConfigError: If there is none; the message lists those there are.
    """
    if name not in RECIPES:
        raise ConfigError(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}: see `gantry train --list`")
    return RECIPES[name]


def parse_config(text: str | bytes) -> RunConfig:
    """Reads the configuration of any recipe.

    Args:
        text: JSON, as `model_dump_json` writes it.

    Returns:
        The configuration, of its recipe's type.

    Raises:
        ConfigError: If it is no JSON, of no recipe that is known, or has settings that are not allowed.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"not JSON: {error}") from error
    if not isinstance(values, dict) or "recipe" not in values:
        raise ConfigError('not a configuration of this version: it has no "recipe"')
    return type(find_recipe(str(values["recipe"])).defaults).parse(values)


__all__ = ["RECIPES", "Recipe", "find_recipe", "parse_config"]
