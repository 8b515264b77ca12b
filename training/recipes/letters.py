"""The GAN of letters in styles that no font has."""

from training.conditions import AttributesCondition
from training.config import EmaConfig, OptimizerConfig
from training.config.gan import GanConfig
from training.nets.patches import PatchDiscriminatorConfig, PatchGeneratorConfig
from training.recipes.recipe import Recipe
from training.terms.attributes import AttributeRegressor
from training.terms.classifier import AuxiliaryClassifier
from training.terms.latent_regression import LatentRegression

LETTERS = Recipe(
    paper="Wang et al., 2020, arXiv:2005.07865",
    line="Pictures of a class, steered by attributes with real values: letters by weight, slant, width and so on",
    # Attribute2Font changes the letters of a font that it is given; here noise is the font, and attributes steer it.
    defaults=GanConfig(
        recipe="letters",
        data="letters",
        total_images=4_000_000,
        tick=50_000,
        precision="float32",
        objective="hinge",
        latent_size=24,
        condition=AttributesCondition(),
        terms={
            "attributes": AttributeRegressor(weight=1),
            "classifier": AuxiliaryClassifier(weight=0.2),
            "latent_regression": LatentRegression(weight=0.3),
        },
        generator=PatchGeneratorConfig(width=40),
        discriminator=PatchDiscriminatorConfig(width=32, projection=True),
        optimizer=OptimizerConfig(decay_start=0.5),
        ema=EmaConfig(half_life=30_000),
    ),
)
