"""The first GAN."""

from training.config import OptimizerConfig
from training.config.gan import GanConfig
from training.nets.perceptron import PerceptronDiscriminatorConfig, PerceptronGeneratorConfig
from training.recipes.recipe import Recipe

GAN = Recipe(
    paper="Goodfellow et al., 2014, arXiv:1406.2661",
    line="Pictures from fully connected nets, under the original losses in the form that does not saturate",
    # The authors' widths: 1,200 units, in the discriminator 240 maxout units of five pieces. Their generator has no
    # batch normalisation; without it samples of the digits collapse to a few.
    defaults=GanConfig(
        recipe="gan",
        data="mnist",
        total_images=3_000_000,
        tick=100_000,
        batch=100,
        latent_size=100,
        generator=PerceptronGeneratorConfig(hidden=(1200, 1200)),
        discriminator=PerceptronDiscriminatorConfig(hidden=(1200, 240)),
        optimizer=OptimizerConfig(generator_lr=2e-4, discriminator_lr=2e-4),
    ),
    on={
        "digits": {
            "total_images": 300_000,
            "tick": 60_000,
            "generator.hidden": (256, 256),
            "discriminator.hidden": (256, 128),
            "discriminator.noise": 0.3,
            "optimizer": OptimizerConfig(generator_lr=1e-3, discriminator_lr=5e-4),
        }
    },
)
