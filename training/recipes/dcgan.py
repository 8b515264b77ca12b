"""The deep convolutional GAN."""

from training.config import EmaConfig, OptimizerConfig
from training.config.gan import GanConfig
from training.nets.dcgan import DcganDiscriminatorConfig, DcganGeneratorConfig
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
        generator=DcganGeneratorConfig(width=64),
        discriminator=DcganDiscriminatorConfig(width=64),
        optimizer=OptimizerConfig(generator_lr=2e-4, discriminator_lr=2e-4, beta2=0.999),
        ema=EmaConfig(half_life=10_000),
    ),
    on={"digits": {"total_images": 120_000, "tick": 30_000, **SMALL}},
)
