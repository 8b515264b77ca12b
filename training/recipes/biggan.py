"""The BigGAN, small."""

from training.conditions import LabelCondition
from training.config import OptimizerConfig
from training.config.gan import GanConfig
from training.nets.residual import ResidualDiscriminatorConfig, ResidualGeneratorConfig
from training.recipes.recipe import Recipe

BIGGAN = Recipe(
    paper="Brock et al., 2018, arXiv:1809.11096",
    line="Pictures of a class; its embedding and parts of the latent set every gain of a residual generator",
    # The paper's, but for its size: batches there have 2,048 images and nets 96 channels at full resolution, under
    # which the generator learns at 5e-5.
    defaults=GanConfig(
        recipe="biggan",
        data="fashion-mnist",
        total_images=800_000,
        tick=80_000,
        objective="hinge",
        critic_steps=2,
        latent_size=120,
        condition=LabelCondition(),
        generator=ResidualGeneratorConfig(
            width=32, max_width=128, spectral=True, modulation=True, skip_latent=True, embedding=128, init="orthogonal"
        ),
        discriminator=ResidualDiscriminatorConfig(width=32, max_width=128, projection=True, init="orthogonal"),
        optimizer=OptimizerConfig(generator_lr=2e-4, discriminator_lr=2e-4, beta1=0, beta2=0.999),
    ),
    on={"digits": {"total_images": 200_000, "tick": 40_000, "precision": "float32", "generator.width": 16}},
)
