"""The class-conditional GAN."""

from training.conditions import LabelCondition
from training.config import EmaConfig, OptimizerConfig
from training.config.gan import GanConfig
from training.nets.patches import PatchDiscriminatorConfig
from training.recipes.recipe import SMALL, Recipe

CGAN = Recipe(
    paper="Mirza & Osindero, 2014, arXiv:1411.1784",
    line="Pictures of a class: both nets are given the label",
    defaults=GanConfig(
        recipe="cgan",
        data="digits",
        total_images=800_000,
        tick=60_000,
        condition=LabelCondition(),
        discriminator=PatchDiscriminatorConfig(concat=True, projection=True),
    ),
    on={
        # About a minute on two CPU cores.
        "digits": {
            "total_images": 120_000,
            "tick": 30_000,
            **SMALL,
            "optimizer": OptimizerConfig(generator_lr=1.5e-3, discriminator_lr=1.5e-3),
            "ema": EmaConfig(half_life=15_000),
        },
        "mnist": {"total_images": 640_000},
        "fashion-mnist": {"terms.classifier.weight": 0.2, "discriminator.concat": False},
    },
)
