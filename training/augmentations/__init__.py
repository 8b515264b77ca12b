"""What changes images before the discriminator looks at them: one module each, and one table of them."""

from typing import Annotated

from pydantic import BeforeValidator, SerializeAsAny

from training.augmentations.base import Augmentation
from training.augmentations.differentiable import DifferentiableAugmentation
from training.augmentations.noise import InstanceNoise
from training.config.tables import read_parts

AUGMENTATIONS: dict[str, type[Augmentation]] = {
    "differentiable": DifferentiableAugmentation,
    "noise": InstanceNoise,
}
"""Every augmentation by its name in the configuration."""

Augmentations = Annotated[
    dict[str, SerializeAsAny[Augmentation]],
    BeforeValidator(lambda given: read_parts(given, AUGMENTATIONS, "augmentations")),
]
"""A setting that holds augmentations of the table by name; they are applied in the order of their names."""

__all__ = ["AUGMENTATIONS", "Augmentation", "Augmentations"]
