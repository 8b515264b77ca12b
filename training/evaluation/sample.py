"""Draws samples that are a function of their seeds, whatever the generator's condition."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from training.data import DatasetInfo
from training.evaluation.truncation import truncated_normal
from training.grids import to_uint8

_ROWS = 250  # pictures made in one pass


class Inputs(NamedTuple):
    """What samples are made of."""

    latents: Tensor  # float32 [N, latent size]
    labels: Tensor | None  # the class asked for, int64 [N]; None where the condition has none
    draws: Mapping[str, Tensor]  # the conditions


@dataclass(frozen=True)
class Sampler:
    """A generator of pictures from noise, in evaluation mode on the device."""

    generator: nn.Module  # (latents, condition or None) → images [B, C, H, W] in [-1, 1]
    condition: Any  # one of `training.conditions`
    latent_size: int
    info: DatasetInfo
    device: torch.device
    known: Mapping[str, Tensor] = field(default_factory=dict)  # of real images that attributes are taken from
    truncation: float | None = None  # threshold of `truncated_normal`; None draws latents as they were trained on

    def draw(self, count: int) -> Inputs:
        """Draws inputs: number i has seed i and, where the condition has a class, class i mod classes."""
        latents, drawn = [], []
        for number in range(count):
            source = torch.Generator().manual_seed(number)
            latents.append(self.latents(1, source))
            drawn.append(self.conditions(1, number, source))
        draws = {name: torch.cat([each[name] for each in drawn]) for name in drawn[0]}
        return Inputs(torch.cat(latents), draws["labels"] if self.condition.class_names(self.info) else None, draws)

    def latents(self, count: int, source: torch.Generator) -> Tensor:
        """Draws latents, float32 [count, latent size]."""
        if self.truncation is None:
            return torch.randn(count, self.latent_size, generator=source)
        return truncated_normal(count, self.latent_size, self.truncation, source)

    def conditions(self, count: int, first: int, source: torch.Generator) -> Mapping[str, Tensor]:
        """Draws the conditions of samples from the number `first` on: classes in turn.

        Attributes are all those of one real image, of that class where there is one.
        """
        known = {}
        if classes := len(self.condition.class_names(self.info)):
            known["labels"] = torch.arange(first, first + count) % classes
        if self.condition.kind == "attributes":
            labels = known.get("labels", torch.zeros(count, dtype=torch.int64)).tolist()
            known["attributes"] = torch.cat([self._attributes(label, source) for label in labels])
        drawn: Mapping[str, Tensor] = self.condition.draw(known, count, source)
        return drawn

    def _attributes(self, label: int, source: torch.Generator) -> Tensor:
        """Those of a random real image, float32 [1, attributes]; of a class, where there are images of it."""
        attributes = self.known["attributes"]
        if self.condition.class_names(self.info):
            of_class = attributes[self.known["labels"] == label]
            attributes = of_class if len(of_class) else attributes
        return attributes[torch.randint(len(attributes), (1,), generator=source)]

    @torch.inference_mode()
    def make(self, latents: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
        """Makes pictures of N inputs: rounded to bytes as a caller gets them, uint8 [N, C, H, W], on the CPU."""
        condition = self.condition.vector(draws, self.info)
        rows = latents.to(self.device).split(_ROWS)
        given = [None] * len(rows) if condition is None else condition.to(self.device).split(_ROWS)
        return torch.cat([to_uint8(self.generator(*pair)).cpu() for pair in zip(rows, given, strict=True)])
