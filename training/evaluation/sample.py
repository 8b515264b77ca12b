"""Draws samples that are a function of their seeds, whatever the generator's condition."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from training.data import DatasetInfo
from training.grids import to_uint8

_ROWS = 250  # pictures made in one pass


class Inputs(NamedTuple):
    """What samples are made of."""

    latents: Tensor  # float32 [N, latent size]
    labels: Tensor | None  # the class asked for, int64 [N]; None where the condition is no label
    draws: Mapping[str, Tensor]  # the conditions


@dataclass(frozen=True)
class Sampler:
    """A generator of pictures from noise, in evaluation mode on the device."""

    generator: nn.Module  # (latents, condition or None) → images [B, C, H, W] in [-1, 1]
    condition: Any  # one of `training.conditions`
    latent_size: int
    info: DatasetInfo
    device: torch.device

    def draw(self, count: int) -> Inputs:
        """Draws inputs: number i has seed i and, where the condition is a label, class i mod classes."""
        labels = torch.arange(count) % len(self.info.class_names) if self.condition.kind == "label" else None
        latents, drawn = [], []
        for number in range(count):
            source = torch.Generator().manual_seed(number)
            latents.append(torch.randn(1, self.latent_size, generator=source))
            drawn.append(self.condition.draw({} if labels is None else {"labels": labels[number, None]}, 1, source))
        return Inputs(
            torch.cat(latents), labels, {name: torch.cat([each[name] for each in drawn]) for name in drawn[0]}
        )

    @torch.inference_mode()
    def make(self, latents: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
        """Makes pictures of N inputs: rounded to bytes as a caller gets them, uint8 [N, C, H, W], on the CPU."""
        condition = self.condition.vector(draws, self.info)
        rows = latents.to(self.device).split(_ROWS)
        given = [None] * len(rows) if condition is None else condition.to(self.device).split(_ROWS)
        return torch.cat([to_uint8(self.generator(*pair)).cpu() for pair in zip(rows, given, strict=True)])
