"""The latent read back from a sample, which keeps different latents apart.

As the baseline of bidirectional GANs (Donahue et al., 2016, arXiv:1605.09782, section 4.1) and in BicycleGAN (Zhu et
al., 2017, arXiv:1711.11586, section 3.3). Whoever reads it does not know the class, so the same number must look alike
in all of them: one latent keeps one style.
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from training.data import DatasetInfo
from training.terms.base import Seen, Term

_HEAD = "latent"


class LatentRegression(Term):
    """Mean squared error of the latent as it is read from a sample; 1 where nothing can be read."""

    weight: Annotated[float, Field(ge=0, le=100)] = 0.5

    def heads(self, features: int, info: DatasetInfo, latent_size: int) -> dict[str, nn.Module]:  # noqa: ARG002
        """What is read, [B, latent size]."""
        return {_HEAD: nn.Linear(features, latent_size)}

    def value(self, seen: Seen) -> Tensor:
        """Of the samples, in either phase: the discriminator learns to read, the generator to be read."""
        return functional.mse_loss(seen.of_fake.heads[_HEAD].float(), seen.latents)
