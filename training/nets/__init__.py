"""The nets: of a picture from noise, of its discriminator, of a translation, and of what reads codes and classes."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field

from training.nets.autoencoder import AutoencoderConfig
from training.nets.dcgan import DcganDiscriminatorConfig, DcganGeneratorConfig
from training.nets.patches import PatchDiscriminatorConfig, PatchGeneratorConfig
from training.nets.perceptron import PerceptronDiscriminatorConfig, PerceptronGeneratorConfig
from training.nets.r3gan import R3ganDiscriminatorConfig, R3ganGeneratorConfig
from training.nets.residual import ResidualDiscriminatorConfig, ResidualGeneratorConfig


def _with_kind(settings: object) -> object:
    """Settings without a kind are of the first kind there was."""
    return {"kind": "patches", **settings} if isinstance(settings, Mapping) else settings


AnyGenerator = Annotated[
    PatchGeneratorConfig
    | PerceptronGeneratorConfig
    | DcganGeneratorConfig
    | ResidualGeneratorConfig
    | R3ganGeneratorConfig,
    Field(discriminator="kind"),
    BeforeValidator(_with_kind),
]
"""Every generator of pictures from noise, told apart by its `kind`."""

AnyDiscriminator = Annotated[
    PatchDiscriminatorConfig
    | PerceptronDiscriminatorConfig
    | DcganDiscriminatorConfig
    | ResidualDiscriminatorConfig
    | R3ganDiscriminatorConfig
    | AutoencoderConfig,
    Field(discriminator="kind"),
    BeforeValidator(_with_kind),
]
"""Every discriminator of such pictures."""

__all__ = ["AnyDiscriminator", "AnyGenerator"]
