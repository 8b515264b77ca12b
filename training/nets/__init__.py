"""The nets: of a picture from noise, of its discriminator, of a translation, and of what reads codes and classes."""

from training.nets.patches import PatchDiscriminatorConfig, PatchGeneratorConfig

AnyGenerator = PatchGeneratorConfig
"""Every generator of pictures from noise."""

AnyDiscriminator = PatchDiscriminatorConfig
"""Every discriminator of such pictures."""

__all__ = ["AnyDiscriminator", "AnyGenerator"]
