"""The R3GAN."""

from training.config import OptimizerConfig
from training.config.gan import GanConfig
from training.nets.r3gan import R3ganDiscriminatorConfig, R3ganGeneratorConfig
from training.recipes.recipe import Recipe
from training.terms.zero_centred import R1, R2

R3GAN = Recipe(
    paper="Huang et al., 2024, arXiv:2501.05441",
    line="Relativistic losses, slopes held on real images and samples, and nets without normalisation",
    # The paper's nets have two blocks at a resolution, and 768 channels at each of up to 32 pixels.
    defaults=GanConfig(
        recipe="r3gan",
        data="fashion-mnist",
        total_images=300_000,
        tick=30_000,
        objective="relativistic",
        terms={"r1": R1(weight=1), "r2": R2(weight=1)},
        generator=R3ganGeneratorConfig(width=16, max_width=64, blocks=1),
        discriminator=R3ganDiscriminatorConfig(width=16, max_width=64, blocks=1),
        optimizer=OptimizerConfig(generator_lr=2e-4, discriminator_lr=2e-4, beta1=0),
    ),
    on={"digits": {"total_images": 120_000, "tick": 30_000, "precision": "float32"}},
)
