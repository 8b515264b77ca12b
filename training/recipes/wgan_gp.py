"""The Wasserstein GAN with a gradient penalty."""

from training.config import OptimizerConfig
from training.config.gan import GanConfig
from training.nets.patches import PatchDiscriminatorConfig, PatchGeneratorConfig
from training.recipes.recipe import SMALL, Recipe
from training.terms.gradient_penalty import GradientPenalty

WGAN_GP = Recipe(
    paper="Gulrajani et al., 2017, arXiv:1704.00028",
    line="A critic whose slope is held at one by a penalty",
    defaults=GanConfig(
        recipe="wgan-gp",
        data="mnist",
        total_images=2_000_000,
        tick=100_000,
        objective="wasserstein",
        terms={"gradient_penalty": GradientPenalty(weight=10)},
        critic_steps=5,
        generator=PatchGeneratorConfig(width=64),
        discriminator=PatchDiscriminatorConfig(norm="layer"),
        optimizer=OptimizerConfig(generator_lr=1e-4, discriminator_lr=1e-4, beta1=0, beta2=0.9),
    ),
    on={"digits": {"total_images": 400_000, "tick": 80_000, **SMALL}},
)
