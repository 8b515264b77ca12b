"""The InfoGAN."""

from training.conditions import CodesCondition
from training.config.gan import GanConfig
from training.nets.patches import PatchGeneratorConfig
from training.recipes.recipe import SMALL, Recipe
from training.terms.information import CategoricalInformation, ContinuousInformation

INFOGAN = Recipe(
    paper="Chen et al., 2016, arXiv:1606.03657",
    line="Pictures without labels, steered by codes whose meaning it finds",
    defaults=GanConfig(
        recipe="infogan",
        data="digits",
        total_images=800_000,
        tick=50_000,
        latent_size=62,
        condition=CodesCondition(),
        terms={"categorical_information": CategoricalInformation(), "continuous_information": ContinuousInformation()},
        generator=PatchGeneratorConfig(width=64),
    ),
    on={
        "digits": {"total_images": 200_000, "tick": 40_000, **SMALL},
        # Two terms that see no label make the codes stand for digit, slant and size; see docs/training.md.
        "mnist": {
            "total_images": 720_000,
            "batch": 128,
            "seed": 3,
            "tick": 60_000,
            "discriminator.width": 48,
            "optimizer.decay_start": 0.5,
            "terms.continuous_information.weight": 1,
            "terms.invariance.weight": 2,
            "terms.equivariance.weight": 4,
        },
    },
)
