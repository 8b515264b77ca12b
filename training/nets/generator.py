"""What every generator of pictures from noise is built from, whatever its layers are."""

from abc import ABC, abstractmethod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from training.config import SettingsGroup
from training.nets.first_weights import Init


class GeneratorConfig(SettingsGroup, ABC):
    """The generator's shape; each kind of net has a configuration of this type."""

    kind: str

    embedding: Annotated[int, Field(ge=0, le=1024)] = 0
    """Numbers that the condition becomes, by weights that are learnt, before the net takes it; 0 gives it as it is, a
    class as one-hot."""

    init: Init = "torch"
    """The first weights: torch's own, DCGAN's (normal with a standard deviation of 0.02), or orthogonal ones."""

    @abstractmethod
    def build(self, *, latent_size: int, condition_size: int, channels: int, size: int) -> nn.Module:
        """Makes the net, on the CPU.

        Args:
            latent_size: Numbers in a latent.
            condition_size: Numbers in a condition; 0 for none.
            channels: Channels of the images.
            size: Height and width of the images.

        Returns:
            From latents float32 [B, latent_size] and conditions float32 [B, condition_size], or None where there is
            none, to images float32 [B, C, H, W] in [-1, 1].

        Raises:
            ValueError: If the net cannot make images of this size; the message names the flag.
        """


class Given(nn.Module):
    """What a net is given: the latent, and the condition or its embedding beside it."""

    def __init__(self, latent_size: int, condition_size: int, embedding: int) -> None:
        """Makes the embedding, where there is to be one."""
        super().__init__()
        embeds = bool(embedding and condition_size)
        self.embedding = nn.Linear(condition_size, embedding, bias=False) if embeds else nn.Identity()
        self.size = latent_size + (embedding if embeds else condition_size)

    def forward(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """Puts both beside each other.

        Args:
            z: float32 [B, latent size].
            condition: float32 [B, condition size]; None where there is none.

        Returns:
            float32 [B, `size`].
        """
        return z if condition is None else torch.cat([z, self.embedding(condition)], dim=1)
