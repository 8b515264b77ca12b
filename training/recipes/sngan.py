"""The GAN with spectral normalisation."""

from training.config import OptimizerConfig
from training.config.gan import GanConfig
from training.nets.residual import ResidualDiscriminatorConfig, ResidualGeneratorConfig
from training.recipes.recipe import Recipe

SNGAN = Recipe(
    paper="Miyato et al., 2018, arXiv:1802.05957",
    line="A residual discriminator whose every weight is held by spectral normalisation; hinge losses",
    # The paper's discriminator learns five times a step, and has 128 channels where these have 64.
    defaults=GanConfig(
        recipe="sngan",
        data="fashion-mnist",
        total_images=600_000,
        tick=60_000,
        objective="hinge",
        critic_steps=2,
        latent_size=128,
        generator=ResidualGeneratorConfig(width=32, max_width=64),
        discriminator=ResidualDiscriminatorConfig(width=32, max_width=64),
        optimizer=OptimizerConfig(generator_lr=2e-4, discriminator_lr=2e-4, beta1=0, beta2=0.9),
    ),
    on={"digits": {"total_images": 160_000, "tick": 40_000, "precision": "float32", "generator.width": 16}},
)
