"""Draws samples that are a function of their seeds, whatever the generator's condition."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from training.data import DatasetInfo
from training.grids import to_uint8

_ROWS = 250
"""Pictures made in one pass."""


class Inputs(NamedTuple):
    """What samples are made of.

    Attributes:
        latents: float32 [N, latent size].
        labels: The class asked for, int64 [N]; None where the condition is no label.
        draws: The conditions drawn.
    """

    latents: Tensor
    labels: Tensor | None
    draws: Mapping[str, Tensor]


@dataclass(frozen=True)
class Sampler:
    """A generator of pictures from noise.

    Attributes:
        generator: (latents, condition or None) → images [B, C, H, W] in [-1, 1]; in evaluation mode.
        condition: What it is given; see `training.conditions`, of which `kind`, `draw` and `vector` are used.
        latent_size: Numbers in a latent.
        info: The data set.
        device: Where the generator is.
    """

    generator: nn.Module
    condition: Any
    latent_size: int
    info: DatasetInfo
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def draw(self, count: int) -> Inputs:
        """Draws inputs: number i has seed i and, where the condition is a label, class i mod classes."""
        labels = torch.arange(count) % len(self.info.class_names) if self.condition.kind == "label" else None
        latents, drawn = [], []
        for number in range(count):
            source = torch.Generator().manual_seed(number)
            latents.append(torch.randn(1, self.latent_size, generator=source))
            drawn.append(self.condition.draw(None if labels is None else labels[number, None], 1, source))
        draws = {name: torch.cat([each[name] for each in drawn]) for name in drawn[0]}
        return Inputs(torch.cat(latents), labels, draws)

    @torch.inference_mode()
    def make(self, latents: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
        """Makes pictures of latents, float32 [N, latent_size], and as many conditions.

        Returns:
            Rounded to bytes as a caller would get them, uint8 [N, C, H, W], on the CPU.
        """
        condition = self.condition.vector(draws, self.info)
        rows = latents.split(_ROWS)
        given = [None] * len(rows) if condition is None else condition.to(self.device).split(_ROWS)
        pairs = zip(rows, given, strict=True)
        return torch.cat([to_uint8(self.generator(some.to(self.device), vectors)).cpu() for some, vectors in pairs])
