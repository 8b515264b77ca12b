"""Settings of a class-conditional GAN."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from training.config.base import Settings, TrainConfig


class GeneratorConfig(Settings):
    """The generator's shape."""

    latent_size: Annotated[int, Field(ge=1, le=1024)] = 64
    """Numbers in the latent z, each drawn from a standard normal distribution."""

    width: Annotated[int, Field(ge=2, le=1024, multiple_of=2)] = 96
    """Channels of the last feature maps; each lower resolution has twice as many."""


class DiscriminatorConfig(Settings):
    """The discriminator's shape."""

    width: Annotated[int, Field(ge=1, le=1024)] = 64
    """Channels of the first feature maps; each lower resolution has twice as many."""

    concat: bool = True
    """Whether the label stands beside the input of every convolution (Mirza & Osindero)."""

    projection: bool = True
    """Whether the features are projected on the label's embedding at the end (Miyato & Koyama)."""

    spectral_norm: bool = True
    """Whether the largest singular value of every layer is held at one."""


class CganConfig(TrainConfig):
    """A class-conditional GAN."""

    family: Literal["cgan"] = "cgan"
    data: Literal["digits", "mnist", "fashion-mnist"]

    objective: Literal["non_saturating", "hinge", "least_squares"] = "non_saturating"
    """The losses; see `training.objectives`."""

    classifier_weight: Annotated[float, Field(ge=0, le=10)] = 0
    """Weight, in both losses, of an auxiliary classifier's cross-entropy (Odena et al.); 0 leaves it out."""

    generator: GeneratorConfig = GeneratorConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()

    @model_validator(mode="after")
    def _label_enters_and_is_no_giveaway(self) -> Self:
        concat = self.discriminator.concat
        if not concat and not self.discriminator.projection:
            raise ValueError(
                "the discriminator must learn of the label: --set discriminator.concat=true, "
                "discriminator.projection=true, or both"
            )
        if concat and self.classifier_weight > 0:
            raise ValueError(
                "the classifier would only read the label it is to guess: --set classifier_weight above 0 needs "
                "--set discriminator.concat=false"
            )
        return self
