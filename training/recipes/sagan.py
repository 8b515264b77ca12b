"""The GAN with self-attention."""

from training.conditions import LabelCondition
from training.config import OptimizerConfig
from training.config.gan import GanConfig
from training.nets.residual import ResidualDiscriminatorConfig, ResidualGeneratorConfig
from training.recipes.recipe import Recipe

SAGAN = Recipe(
    paper="Zhang et al., 2018, arXiv:1805.08318",
    line="Pictures of a class from nets that relate all places to each other; the label sets the generator's gains",
    # Learning rates, decays and norms are the paper's. Attention stands at 32 of its 128 pixels.
    defaults=GanConfig(
        recipe="sagan",
        data="fashion-mnist",
        total_images=600_000,
        tick=60_000,
        objective="hinge",
        latent_size=128,
        condition=LabelCondition(),
        generator=ResidualGeneratorConfig(width=32, max_width=64, attention=16, spectral=True, modulation=True),
        discriminator=ResidualDiscriminatorConfig(width=32, max_width=64, attention=16, projection=True),
        optimizer=OptimizerConfig(generator_lr=1e-4, discriminator_lr=4e-4, beta1=0, beta2=0.9),
    ),
    on={
        "digits": {
            "total_images": 160_000,
            "tick": 40_000,
            "precision": "float32",
            "generator.width": 16,
            "generator.attention": 8,
            "discriminator.attention": 8,
        },
        "mnist": {"generator.attention": 14, "discriminator.attention": 14},
        "fashion-mnist": {"generator.attention": 14, "discriminator.attention": 14},
    },
)
