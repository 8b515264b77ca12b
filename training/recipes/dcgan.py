"""The plain deep convolutional GAN."""

from training.config import EmaConfig, OptimizerConfig
from training.config.gan import GanConfig
from training.nets.patches import PatchDiscriminatorConfig, PatchGeneratorConfig
from training.recipes.recipe import SMALL, Recipe

DCGAN = Recipe(
    paper="Radford et al., 2015, arXiv:1511.06434",
    line="Pictures without labels: batch normalisation in both nets, first weights of standard deviation 0.02",
    defaults=GanConfig(
        recipe="dcgan",
        data="mnist",
        total_images=1_000_000,
        tick=50_000,
        latent_size=100,
        generator=PatchGeneratorConfig(width=64, init="normal"),
        discriminator=PatchDiscriminatorConfig(norm="batch", init="normal"),
        optimizer=OptimizerConfig(generator_lr=2e-4, discriminator_lr=2e-4, beta2=0.999),
        ema=EmaConfig(half_life=10_000),
    ),
    on={"digits": {"total_images": 120_000, "tick": 30_000, **SMALL}},
)
